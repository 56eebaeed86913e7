// Package schemas holds the contracts: the stored form of every event as JSON
// Schema, the HTTP and NATS surfaces as OpenAPI and AsyncAPI, and what each code
// means. It embeds files and nothing else; whoever checks against a contract
// compiles it.
package schemas

import "embed"

// Files are events/<kind>.json with the types.json they share, openapi.yaml,
// asyncapi.yaml and REASONS.md.
//
//go:embed events/*.json types.json openapi.yaml asyncapi.yaml REASONS.md
var Files embed.FS
