package httpapi

import (
	"net"
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// heldRoutes is how what a link's token reaches is served to whoever holds one.
// It is all they reach: every other route takes such a token for no credential.
func heldRoutes() map[string]func(*call, handlers.Holder) error {
	return map[string]func(*call, handlers.Holder) error{
		"GET /v1/passport": func(c *call, h handlers.Holder) error {
			view, err := c.PassportHeld(c.r.Context(), h)
			if err != nil {
				return err
			}
			return c.answer(http.StatusOK, view)
		},
		"POST /v1/preview": func(c *call, h handlers.Holder) error {
			view, err := c.PreviewHeld(c.r.Context(), h, c.body)
			if err != nil {
				return err
			}
			return c.answer(http.StatusOK, view)
		},
	}
}

// held serves a request that carries a link's token.
func (c *call) held(buffer *[]byte, serve func(*call, handlers.Holder) error) error {
	if c.r.URL.RawQuery != "" {
		return domain.Reject(domain.Invalid, "a link shows the passport as it is; leave out what is after the ?")
	}
	if err := c.read(buffer); err != nil {
		return err
	}
	h, err := c.AdmitHolder(c.r.Context(), addressOf(c.r), c.r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	return serve(c, h)
}

// addressOf is where a request came from.
func addressOf(r *http.Request) string {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return address
}

func createLink(c *call) error {
	var in struct {
		Label     string          `json:"label"`
		ExpiresIn domain.Duration `json:"expiresIn"`
	}
	by, id, err := c.optional().managed(&in)
	if err != nil {
		return err
	}
	link, err := c.CreateLink(c.r.Context(), by, id, in.Label, in.ExpiresIn, reachedAt(c.r))
	if err != nil {
		return err
	}
	return c.answer(http.StatusCreated, link)
}

// reachedAt is where whoever asks reached the server, as far as it can know. It
// ends up in an answer to them alone.
func reachedAt(r *http.Request) string {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func links(c *call) error {
	by, err := c.caller.AsMember(domain.RoleViewer)
	if err != nil {
		return err
	}
	id, err := c.agentID()
	if err != nil {
		return err
	}
	list, err := c.LinksOf(c.r.Context(), by, id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Links []handlers.LinkView `json:"links"`
	}{list})
}

func revokeLink(c *call) error {
	by, id, err := c.optional().managed(&struct{}{})
	if err != nil {
		return err
	}
	link, err := c.RevokeLink(c.r.Context(), by, id, domain.LinkID(c.r.PathValue("link")))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, link)
}

func agentText(c *call) error {
	a, err := c.found()
	if err != nil {
		return err
	}
	query, err := c.query("kind")
	if err != nil {
		return err
	}
	text, err := c.TextOf(a, query.Get("kind"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		AgentID         domain.AgentID `json:"agentId"`
		PassportVersion uint64         `json:"passportVersion"`
		Kind            string         `json:"kind"`
		Text            string         `json:"text"`
	}{a.ID, a.Version, query.Get("kind"), text})
}
