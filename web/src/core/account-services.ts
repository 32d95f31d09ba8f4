/** The calls of the screens for leaving, inviting and administering. Only screens that are loaded later import this module. */

import { createAccountServices } from "@we-upload/client";
import { api } from "./api";

export const accounts = createAccountServices(api.http);
