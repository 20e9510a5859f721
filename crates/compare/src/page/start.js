// Runs when the controls are there and the pictures, which come last in the file, are still being read.
addEventListener("error", ({ message }) => {
  byId("failure").hidden = false;
  byId("failure").textContent = `This browser cannot show the pictures as it should: ${message}`;
});
const viewer = new Viewer(JSON.parse(byId("report").textContent));
const controls = new Controls(viewer);
readPlace(viewer);
// Before the page is laid out, as the stage is smaller above a timeline.
controls.showTimeline();
listenToPointers(viewer);
listenToHandle(viewer);
listenToKeys(viewer);
listenToSize(viewer);
addEventListener("hashchange", () => readPlace(viewer));
if (document.readyState === "loading") {
  // A picture can be taken as soon as it has arrived.
  const arriving = setInterval(() => viewer.redraw(), 100);
  document.addEventListener("DOMContentLoaded", () => {
    clearInterval(arriving);
    viewer.redraw();
  });
}
