/** What a link is called: its title, the address that its owner chose, or the first file that it opens. */

import type { Share } from "@we-upload/client";
import { s } from "../core/screen-texts";

export function linkName(link: Pick<Share, "title" | "slug" | "first_filenames">): string {
  return link.title ?? link.slug ?? link.first_filenames[0] ?? s.links.fileGone;
}
