package httpapi

import (
	"net/http"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

func receiptRoutes() map[string]route {
	return map[string]route{
		"GET /.well-known/jwks.json":           {serve: receiptKeys, open: true},
		"POST /v1/receipt-keys/rotate":         {serve: rotateReceiptKey},
		"POST /v1/decisions/{request}/consume": {serve: consume},
	}
}

func receiptKeys(c *call) error {
	view, err := c.Receipts.Published(c.Verifier.Now())
	return c.answerView(http.StatusOK, view, err)
}

func rotateReceiptKey(c *call) error {
	by, err := c.caller.AsMember(domain.RoleAdmin)
	if err != nil {
		return err
	}
	var in struct {
		Overlap *domain.Duration `json:"overlap"`
	}
	if err := handlers.DecodeGrant(c.optional().body, &in); err != nil {
		return err
	}
	view, err := c.RotateReceiptKeyFor(c.r.Context(), by, in.Overlap)
	return c.answerView(http.StatusOK, view, err)
}

// consume takes a receipt. The body says what must be so.
func consume(c *call) error {
	if _, err := c.caller.AsMember(domain.RoleViewer); err != nil {
		return err
	}
	in, err := handlers.DecodeConsumption(c.optional().body)
	if err != nil {
		return err
	}
	view, err := c.ConsumeFor(c.r.Context(), c.caller, domain.RequestID(c.r.PathValue("request")), in)
	return c.answerView(http.StatusOK, view, err)
}
