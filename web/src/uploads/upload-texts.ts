/** Texts of the upload tray. */

import { localized } from "../core/language";
import { uploads as de } from "../locales/de/uploads";
import { uploads as en } from "../locales/en/uploads";

export const u = localized({ en, de });
