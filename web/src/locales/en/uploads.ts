/** Texts in English of uploads. */

const plural = (count: number, one: string, many: string) => (count === 1 ? one : many);
const number = (value: number) => value.toLocaleString("en");

export const uploads = {
  title: "Uploads",
  pastedName: (time: string) => `Pasted ${time}`,
  someVerified: (verified: number, count: number) => `${number(verified)} of ${number(count)} verified`,
  allVerified: (count: number) => (count === 1 ? "1 file verified" : `All ${number(count)} verified`),
  status: (verified: number, count: number, failed: number) => `${number(verified)} of ${number(count)} files verified.${failed > 0 ? ` ${number(failed)} failed.` : ""}`,
  failedCount: (count: number) => `${number(count)} ${plural(count, "upload", "uploads")} failed`,
  allProgress: "All uploads",
  progressOf: (name: string) => `Progress of ${name}`,
  waiting: "Waiting",
  hashing: "Computing the fingerprint…",
  checking: "Checking the fingerprint…",
  verified: "Arrived and verified",
  cancelling: "Cancelling…",
  cancelled: "Cancelled",
  pausedAt: (of: string) => `Paused at ${of}`,
  retrying: (of: string) => `No answer, trying again · ${of}`,
  needsFile: (size: string) => `Choose the file again to go on · ${size}`,
  tooLarge: (size: string) => `Too large: ${size} is more than this server takes`,
  codes: {
    connection_lost: "The connection was lost. What was sent stays.",
    file_changed: "Changed while it was sent. Nothing was stored.",
    file_unreadable: "The file cannot be read any more. Choose it again.",
    different_file: "This is another file: name, size or time differ.",
    storage_refused: "The storage refused the file. Try again.",
    hashing_failed: "The fingerprint could not be computed. Try again.",
    quota_exceeded: "Not enough room. Empty the trash or delete files, then try again.",
  },
  pauseAll: "Pause all",
  resumeAll: "Resume all",
  fold: "Minimise",
  closeTray: "Close",
  pauseOne: (name: string) => `Pause ${name}`,
  resumeOne: (name: string) => `Resume ${name}`,
  cancelOne: (name: string) => `Cancel ${name}`,
  dismissOne: (name: string) => `Dismiss ${name}`,
  chooseAgain: "Choose file",
  more: (count: number) => `and ${number(count)} more`,
  createLink: "Create link",
  linkHint: (count: number) => `Share ${plural(count, "this file", `these ${number(count)} files`)} by one link.`,
  linkHintUnfinished: (count: number) => `A link made now holds the ${plural(count, "file that is", `${number(count)} files that are`)} verified.`,
};

export type UploadTexts = typeof uploads;
