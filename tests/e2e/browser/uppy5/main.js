/** Stock Uppy 5 with the adapter of the TypeScript client, as its README shows it. */

import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import GoldenRetriever from "@uppy/golden-retriever";
import { createClient } from "../../../../clients/typescript/src/index.ts";
import { uppyAdapter } from "../../../../clients/typescript/src/uppy.ts";
import { connect, say, settings } from "../page.js";

const MIB = 1024 ** 2;
const client = createClient({ baseUrl: settings.api, getAccessToken: () => settings.token });
const { awsS3, install } = uppyAdapter(client, { singleMaxBytes: 4 * MIB });
const uppy = new Uppy();
uppy.use(AwsS3, { ...awsS3, limit: 2 });
uppy.use(GoldenRetriever, { indexedDB: { maxFileSize: 200 * MIB, maxTotalSize: 400 * MIB } });
install(uppy);
connect(uppy);
say("Uppy 5");
