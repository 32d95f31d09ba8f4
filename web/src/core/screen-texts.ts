/** Texts of the screens that are loaded when they are first opened. */

import { screens as de } from "../locales/de/screens";
import { screens as en } from "../locales/en/screens";
import { localized } from "./language";
import { addProblemSentences } from "./problems";

export const s = localized({ en, de });

addProblemSentences(() => s.problemCodes);
