/** Calls about the files of a link and its mail, for the signed-in account. */

import { createLinkChanges } from "@we-upload/client";
import { api } from "../core/api";

export const linkChanges = createLinkChanges(api);
