/** Messages between the page and the hash worker. */

export type HashRequest =
  { readonly id: number; readonly kind: "sha256" | "crc64nvme"; readonly blob: Blob } | { readonly id: number; readonly kind: "cancel" };

export type HashAnswer =
  | { readonly id: number; readonly kind: "progress"; readonly hashedBytes: number }
  | { readonly id: number; readonly kind: "digest"; readonly digest: string }
  | { readonly id: number; readonly kind: "error"; readonly name: string; readonly message: string };
