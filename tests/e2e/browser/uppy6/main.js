/** Stock Uppy 6, as docs/clients.md shows it. */

import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import GoldenRetriever from "@uppy/golden-retriever";
import { connect, say, settings } from "../page.js";

const { endpoint, restricted = "yes", resume } = settings;
const MIB = 1024 ** 2;

/** The server plans parts of this size, and the store accepts no others. */
function partSize(fileSize) {
  return Math.max(8, Math.ceil(fileSize / (10_000 * MIB))) * MIB;
}

const uppy = new Uppy();
if (restricted === "yes") {
  // Uppy then refuses in words what the server would refuse.
  const response = await fetch(endpoint);
  uppy.setOptions({ restrictions: await response.json() });
}
uppy.use(AwsS3, { companionEndpoint: endpoint, shouldUseMultipart: true, getChunkSize: ({ size }) => partSize(size) });
uppy.on("file-added", (file) => uppy.setFileMeta(file.id, { size: file.size }));
if (resume === undefined) {
  uppy.use(GoldenRetriever, { indexedDB: { maxFileSize: 200 * MIB, maxTotalSize: 400 * MIB } });
} else {
  // What the Golden Retriever restores of an upload in progress. It would also store the file, which is too large for this test.
  uppy.on("file-added", (file) => uppy.setFileState(file.id, { s3Multipart: { key: resume, uploadId: resume } }));
}
connect(uppy);
say("Uppy 6");
