/** Makes the icons of later screens known. Import it for its effect. */

import { addIcons } from "./icon";
import { MORE_ICON_PATHS } from "./more-icon-paths";

addIcons(MORE_ICON_PATHS);
