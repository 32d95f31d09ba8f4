/** Name and logo of the service. The server puts those that its operator chose into the page. */

export const BRAND_NAME = document.title;
/** Null for the product's mark. */
export const LOGO_URL = document.querySelector<HTMLLinkElement>("link[data-brand]")?.href ?? null;
