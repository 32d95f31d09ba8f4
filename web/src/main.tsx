/** Starts the app. */

import { render } from "preact";
import { App } from "./app";
import { startKeys } from "./core/keys";
import { startLanguage } from "./core/language";
import { startRouter } from "./core/router";
import { loadServerConfig } from "./core/server-config";
import { startSession, watchSession } from "./core/session";
import { applyTheme } from "./core/theme";
import "../../lambda_app/routers/pages/tokens.css";
import "./styles/app.css";
import { startUploads } from "./uploads/upload-store";

applyTheme();
startRouter();
startKeys();
startUploads();
void loadServerConfig();
watchSession();
void startSession();

const root = document.getElementById("app");
if (root !== null) void startLanguage().then(() => render(<App />, root));
