package schemas

import "embed"

// Presets are presets/<name>.yaml, passports for common agents to begin with, and
// presets/<name>.scenario.yaml, what should be decided under each.
//
//go:embed presets/*.yaml
var Presets embed.FS
