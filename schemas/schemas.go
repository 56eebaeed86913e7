// Package schemas holds the contracts: the stored form of every event as JSON
// Schema, the HTTP and NATS surfaces as OpenAPI and AsyncAPI, what each code
// means, and the tables of the read models. It embeds files and nothing else;
// whoever checks against a contract compiles it.
package schemas

import "embed"

// Files are events/<kind>.json and public/<type>.v1.json, what public events are
// in (public/event.json), the types.json they share, openapi.yaml,
// asyncapi.yaml, REASONS.md, and sql/ with the tables of the read models.
//
//go:embed events/*.json public/*.json types.json openapi.yaml asyncapi.yaml REASONS.md sql/*.sql
var Files embed.FS
