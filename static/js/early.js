// Runs before the modules: an Enter that is pressed until they are ready sends as soon as they are.
document.addEventListener("keydown", (event) => {
  const isPlain = !event.shiftKey && !event.altKey && !event.isComposing;
  if (event.target.id !== "message" || event.key !== "Enter" || !isPlain || event.defaultPrevented) return;
  event.preventDefault();
  document.documentElement.dataset.early = "send";
});
