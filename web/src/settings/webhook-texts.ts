/** Texts of webhooks. */

import { localized } from "../core/language";
import { webhooks as de } from "../locales/de/webhooks";
import { webhooks as en } from "../locales/en/webhooks";

export const w = localized({ en, de });
