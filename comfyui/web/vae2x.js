// Clips in the background: their state and the file on their node, a message when one is written or fails, and a command that stops
// them.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const KIND = "Vae2xDecodeToFile";
const OPEN = ["waiting", "running"];
// Of a message that is no error.
const MILLISECONDS = 5000;

function show(severity, summary, detail) {
  const life = severity === "error" ? undefined : MILLISECONDS;
  app.extensionManager?.toast?.add({ severity, summary, detail, life });
}

// Whether the workflow on the screen has our node at this number; "5:3" is node 3 in the subgraph of node 5.
function hasNode(id) {
  let graph = app.rootGraph ?? app.graph;
  let node;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById?.(Number(part));
    graph = node?.subgraph;
  }
  return node?.comfyClass === KIND;
}

// What ComfyUI's page does with the server's messages of these names.
function dispatch(name, detail) {
  api.dispatchEvent(new CustomEvent(name, { detail }));
}

function onJob({ detail: job }) {
  if (job.node != null && hasNode(job.node)) {
    dispatch("progress_text", { nodeId: job.node, text: job.text });
    if (job.output) {
      const { node, prompt_id, output } = job;
      dispatch("executed", { node, display_node: node, prompt_id, output });
    }
  }
  if (job.state === "failed") show("error", `vae2x: ${job.title}`, job.error);
  if (job.state === "done") show("success", `vae2x: ${job.title}`, "written in the background");
}

async function cancelAll() {
  const jobs = await (await api.fetchApi("/vae2x/jobs")).json();
  const open = jobs.filter((job) => OPEN.includes(job.state));
  await Promise.all(open.map((job) => api.fetchApi(`/vae2x/jobs/${job.id}/cancel`, { method: "POST" })));
  show("info", "vae2x", open.length ? `${open.length} in the background stopped` : "nothing in the background");
}

app.registerExtension({
  name: "vae2x.jobs",
  commands: [{ id: "vae2x.cancel", label: "Stop decoding in the background", function: cancelAll }],
  menuCommands: [{ path: ["Extensions", "vae2x"], commands: ["vae2x.cancel"] }],
  setup() {
    api.addEventListener("vae2x.job", onJob);
  },
});
