import jsQR from "jsqr";
import { describe, expect, it } from "vitest";
import { qrCode, qrPath, type QrCode } from "../src/sharing/qr-code";

const MODULE = 6;
const MARGIN = 4;

/** Read a code as a camera would, with an independent decoder. */
function decode(code: QrCode): string | undefined {
  const width = (code.size + 2 * MARGIN) * MODULE;
  const pixels = new Uint8ClampedArray(width * width * 4).fill(255);
  for (let y = 0; y < width; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const row = Math.floor(y / MODULE) - MARGIN;
      const column = Math.floor(x / MODULE) - MARGIN;
      const isInside = row >= 0 && column >= 0 && row < code.size && column < code.size;
      if (isInside && code.isDark(row, column)) pixels.fill(0, (y * width + x) * 4, (y * width + x) * 4 + 3);
    }
  }
  return jsQR(pixels, width, width)?.data;
}

describe("a QR code", () => {
  it("takes the smallest version that holds the text", () => {
    expect(qrCode("a".repeat(14))?.size).toBe(21);
    expect(qrCode("a".repeat(15))?.size).toBe(25);
    expect(qrCode("a".repeat(180))?.size).toBe(53);
    expect(qrCode("a".repeat(213))?.size).toBe(57);
    expect(qrCode("a".repeat(214))).toBeNull();
  });

  it("counts bytes, not letters", () => {
    expect(qrCode("ä".repeat(8))?.size).toBe(25);
  });


  it.each([1, 14, 26, 42, 62, 84, 106, 122, 152, 180, 213])("of %d bytes can be read", (length) => {
    const text = `https://up.example/s/${"7Qm2vXc9Tz4LkWb8RfYp1N".repeat(10)}`.slice(0, length);
    expect(decode(qrCode(text) as QrCode)).toBe(text);
  });

  it("is drawn as one path that covers exactly the dark modules", () => {
    const code = qrCode("https://up.example/s/7Qm2vXc9Tz4LkWb8RfYp1N") as QrCode;
    const covered = [...qrPath(code).matchAll(/M(\d+) (\d+)h(\d+)v1h-(\d+)z/g)].reduce((sum, [, , , width]) => sum + Number(width), 0);
    let dark = 0;
    for (let row = 0; row < code.size; row += 1) for (let column = 0; column < code.size; column += 1) dark += code.isDark(row, column) ? 1 : 0;
    expect(covered).toBe(dark);
  });
});
