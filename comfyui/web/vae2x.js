// Clips in the background: a message in the page when one is written or fails, and a command that stops them.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const OPEN = ["waiting", "running"];

function show(severity, summary, detail) {
  app.extensionManager?.toast?.add({ severity, summary, detail, life: severity === "error" ? undefined : 5000 });
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
    api.addEventListener("vae2x.job", ({ detail: job }) => {
      if (job.state === "failed") show("error", `vae2x: ${job.title}`, job.error);
      if (job.state === "done") show("success", `vae2x: ${job.title}`, "written in the background");
    });
  },
});
