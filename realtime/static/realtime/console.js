// @ts-check
/** The console: one hub, and the views that show it. */

import { Hub } from "./hub.js";
import { mountActions } from "./views/actions.js";
import { mountBuilds } from "./views/builds.js";
import { mountHeader } from "./views/header.js";
import { mountPresence } from "./views/presence.js";
import { mountRefusals } from "./views/refusals.js";
import { mountSignIn } from "./views/signin.js";
import { mountViewer } from "./views/viewer.js";
import { mountWorld } from "./views/world.js";

const hub = new Hub();
const builds = mountBuilds(hub);
mountHeader(hub);
mountPresence(hub);
mountActions(hub);
mountWorld(hub, builds.submitted);
mountRefusals(hub);
mountViewer();
mountSignIn(hub); // last: it may connect at once
