/** What the pages of both versions of Uppy share: buttons, and a list of what Uppy reports. */

export const settings = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

export function say(text) {
  document.getElementById("log").append(Object.assign(document.createElement("li"), { textContent: text }));
}

/** Show when the server has answered a cancellation; Uppy has no event for it. */
const send = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const response = await send(input, init);
  if ((init?.method ?? input.method) === "DELETE") say(`deleted: ${response.status}`);
  return response;
};

/** Connect the buttons, and show the events. */
export function connect(uppy) {
  const input = document.getElementById("files");
  const on = (id, act) => document.getElementById(id).addEventListener("click", act);
  on("choose", () => input.click());
  // As Uppy's own status bar does: what was restored goes on, and is not started anew.
  on("upload", () => (uppy.getState().recoveredState ? uppy.emit("restore-confirmed") : uppy.upload().catch((error) => say(`failed: ${error.message}`))));
  on("pause", () => { uppy.pauseAll(); say("paused"); });
  on("resume", () => uppy.resumeAll());
  on("cancel", () => { uppy.cancelAll(); say("cancelled"); });
  input.addEventListener("change", () => {
    for (const file of input.files) {
      try {
        uppy.addFile({ name: file.name, type: file.type, data: file });
        say(`added ${file.name}`);
      } catch (error) {
        say(`refused: ${error.message}`);
      }
    }
  });
  let parts = 0;
  uppy.on("s3-multipart:part-uploaded", () => say(`parts sent: ${(parts += 1)}.`));
  uppy.on("upload-success", (file) => say(`complete: ${file.name}`));
  uppy.on("upload-error", (file, error) => say(`error: ${error.message}`));
  uppy.on("restored", () => say(`restored: ${uppy.getFiles().map((file) => file.name).join(", ")}`));
  say("ready");
}
