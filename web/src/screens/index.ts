/** The screens and dialogs that are loaded when the first of them is opened. */

import "../ui/more-icons";
import "../styles/screens.css";
import "../styles/file-grid.css";

export * as bulk from "../files/bulk";
export { FileGrid } from "../files/file-grid";
export { changeVisibility } from "../files/visibility";
export { zipFiles } from "../files/zip";
export { shareFiles } from "../sharing/share-files";
export { AdminScreen } from "./admin-screen";
export { EnrolmentScreen } from "./enrolment-screen";
export { InvitationScreen } from "./invitation-screen";
export { KeysDialog } from "./keys-dialog";
export { LinksScreen } from "./links-screen";
export { MoreSheet } from "./more-sheet";
export { ForgotPasswordScreen, ResetPasswordScreen, VerifyEmailScreen } from "./password-screens";
export { PreviewDialog as Preview } from "./preview";
export { RenameDialog } from "./rename-dialog";
export { RequestsScreen } from "./requests-screen";
export { SettingsScreen } from "./settings-screen";
export { ShareDialog } from "./share-dialog";
export { SharedScreen } from "./shared-screen";
export { endSession, tellThatSignOutFailed } from "./sign-in-again";
export { SignInProviders } from "./sign-in-providers";
export { SignUpScreen } from "./sign-up-screen";
export { TrashScreen } from "./trash-screen";
