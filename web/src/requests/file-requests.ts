/** The calls of file requests. Apart from the calls that the start needs. */

import { createFileRequestCalls } from "@we-upload/client";
import { api } from "../core/api";

export const fileRequests = createFileRequestCalls(api);
