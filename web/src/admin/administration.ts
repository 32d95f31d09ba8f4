/** The calls of superusers. Apart from the calls that the start needs. */

import { createAdministration } from "@we-upload/client";
import { api } from "../core/api";

export const administration = createAdministration(api);
