package mcpserver

import (
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/before"
	"github.com/behalf-platform/behalf/handlers"
)

// HTTP serves the tools by streamable HTTP, each request by itself. A request
// with an agent's key as its bearer token asks the server at url with that one;
// others ask with the tools' own, and only if shared says that they may: whoever
// reaches a server must not ask as its agent by that alone.
func (t *Tools) HTTP(url string, shared bool) http.Handler {
	t = t.withOwner()
	handler := mcp.NewStreamableHTTPHandler(func(r *http.Request) *mcp.Server {
		one := *t
		if key, ok := bearer(r); ok {
			one.Client = &behalf.Client{BaseURL: url, Token: key}
			one.Agent, one.owner = "", &before.Owner{} // it is another agent's
		}
		return one.Server()
	}, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, MaxRequestBodyBytes: 2 * handlers.MaxBody})
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := bearer(r); !ok && (!shared || r.Header.Get("Authorization") != "") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="behalf"`)
			http.Error(w, "send the agent's key: Authorization: Bearer bhf_sk_…", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

// bearer is the key that a request brings along.
func bearer(r *http.Request) (string, bool) {
	scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	key = strings.TrimSpace(key)
	return key, ok && strings.EqualFold(scheme, "Bearer") && key != "" && len(r.Header.Values("Authorization")) == 1
}
