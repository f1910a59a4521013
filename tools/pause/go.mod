// Two small static programs for the nodes of the end-to-end tests: `pause`, which holds a pod's namespaces, and `talk`,
// two of which find each other by name. Nothing but the standard library.
module finetune.dev/tools/pause

go 1.26.0

tool (
	finetune.dev/tools/pause/pause
	finetune.dev/tools/pause/talk
)
