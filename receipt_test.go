package behalf_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

var signingKey = ed25519.NewKeyFromSeed([]byte("a key for tests, of 32 bytes....")[:ed25519.SeedSize])

const claims = `{"iss":"acct_1","sub":"ollie","aud":"coachella.com","jti":"req_1","iat":1795435200,"exp":1795435260,"action":"purchase",
	"vendor":"coachella.com","amount":"742.00","currency":"USD","permissionId":"perm_1","passportVersion":7}`

// signed is a receipt with the header and claims as they are.
func signed(header, claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(signingKey, []byte(text)))
}

const goodHeader = `{"alg":"EdDSA","kid":"one","typ":"behalf-receipt+jwt"}`

func keySet() string {
	x := base64.RawURLEncoding.EncodeToString(signingKey.Public().(ed25519.PublicKey))
	return `{"keys":[{"kty":"RSA","n":"x"},{"kty":"OKP","crv":"Ed25519","kid":"one","alg":"EdDSA","use":"sig","x":"` + x + `"}]}`
}

var purchase = behalf.Expected{AccountID: "acct_1", AgentID: "ollie", Action: "purchase", Audience: "coachella.com", Amount: "742.00", Currency: "USD"}

func TestVerifyReceiptLooksAtAllOfIt(t *testing.T) {
	t.Parallel()
	keys, err := behalf.ParseReceiptKeys([]byte(keySet()))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1795435230, 0)
	got, err := behalf.VerifyReceipt(signed(goodHeader, claims), keys, purchase, now)
	if err != nil || got.RequestID != "req_1" || got.PassportVersion != 7 || got.ExpiresAt.Unix() != 1795435260 {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, receipt := range map[string]string{
		"another algorithm":      signed(strings.Replace(goodHeader, "EdDSA", "HS256", 1), claims),
		"another kind of token":  signed(strings.Replace(goodHeader, "behalf-receipt+jwt", "JWT", 1), claims),
		"no kind":                signed(`{"alg":"EdDSA","kid":"one"}`, claims),
		"an unknown key":         signed(strings.Replace(goodHeader, "one", "two", 1), claims),
		"a key of its own":       signed(strings.Replace(goodHeader, "{", `{"jwk":{},`, 1), claims),
		"a header twice":         signed(strings.Replace(goodHeader, "{", `{"alg":"none",`, 1), claims),
		"a claim twice":          signed(goodHeader, strings.Replace(claims, "{", `{"amount":"1.00",`, 1)),
		"a line end behind it":   signed(goodHeader, claims) + "\n",
		"a line end in it":       signed(goodHeader, claims)[:len(signed(goodHeader, claims))-8] + "\r\n" + signed(goodHeader, claims)[len(signed(goodHeader, claims))-8:],
		"another alphabet":       strings.NewReplacer("-", "+", "_", "/").Replace(signed(goodHeader, claims)) + "+",
		"critical extensions":    signed(strings.Replace(goodHeader, "{", `{"crit":["b64"],"b64":false,`, 1), claims),
		"no algorithm":           signed(strings.Replace(goodHeader, "EdDSA", "none", 1), claims),
		"more behind its claims": signed(goodHeader, claims+"{}"),
		"more behind its header": signed(goodHeader+" {}", claims),
		"two audiences":          signed(goodHeader, strings.Replace(claims, `"aud":"coachella.com"`, `"aud":["coachella.com","x.com"]`, 1)),
		"an age with a fraction": signed(goodHeader, strings.Replace(claims, "1795435200", "1795435200.5", 1)),
		"an age out of range":    signed(goodHeader, strings.Replace(claims, "1795435200", "9223372036854775807", 1)),
		"an expiry out of range": signed(goodHeader, strings.Replace(claims, "1795435260", "-9223372036854775808", 1)),
		"an amount in short":     signed(goodHeader, strings.Replace(claims, "742.00", "742", 1)),
		"an amount as a number":  signed(goodHeader, strings.Replace(claims, `"742.00"`, "742.00", 1)),
		"no currency":            signed(goodHeader, strings.Replace(claims, `"currency":"USD",`, "", 1)),
		"no audience":            signed(goodHeader, strings.Replace(claims, `"aud":"coachella.com",`, "", 1)),
		"claims in other case":   signed(goodHeader, strings.Replace(claims, `"amount"`, `"AMOUNT"`, 1)),
		"no request":             signed(goodHeader, strings.Replace(claims, "req_1", "", 1)),
		"no expiry":              signed(goodHeader, strings.Replace(claims, `"exp":1795435260,`, "", 1)),
		"an expiry that is text": signed(goodHeader, strings.Replace(claims, `1795435260`, `"1795435260"`, 1)),
		"no JSON":                signed(goodHeader, "claims"),
		"too long":               signed(goodHeader, strings.Replace(claims, "{", `{"more":"`+strings.Repeat("a", 16<<10)+`",`, 1)),
	} {
		if got, err := behalf.VerifyReceipt(receipt, keys, purchase, now); !errors.Is(err, behalf.ErrReceipt) || got != (behalf.Receipt{}) {
			t.Errorf("%s: got %+v, %v, want %v", name, got, err, behalf.ErrReceipt)
		}
	}
}

const consumed = `{"requestId":"req_1","agentId":"ollie","action":"purchase","amount":"742.00","currency":"USD","consumedAt":"2026-11-23T12:00:01Z"}`

// Whatever goes wrong, nothing was consumed by this call, and no key is known.
func TestConsumeFailsClosed(t *testing.T) {
	t.Parallel()
	want := behalf.Consumption{AgentID: "ollie", Action: "purchase"}
	if got, err := serving(t, 200, consumed).Consume(t.Context(), "req_1", want); err != nil || got.ConsumedAt.IsZero() {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"nothing":          {200, ""},
		"half":             {200, consumed[:40]},
		"an empty object":  {200, "{}"},
		"another request":  {200, strings.Replace(consumed, "req_1", "req_2", 1)},
		"another agent":    {200, strings.Replace(consumed, "ollie", "mia", 1)},
		"another action":   {200, strings.Replace(consumed, "purchase", "refund", 1)},
		"no time":          {200, strings.Replace(consumed, "2026-11-23T12:00:01Z", "0001-01-01T00:00:00Z", 1)},
		"another status":   {201, consumed},
		"taken before":     {409, `{"error":{"code":"CONFLICT","message":"the receipt of req_1 was taken before"}}`},
		"a bad credential": {401, `{"error":{"code":"UNAUTHENTICATED","message":"no"}}`},
		"too often":        {429, `{"error":{"code":"RATE_LIMITED","message":"wait"}}`},
		"broken":           {500, consumed},
		"unavailable":      {503, `{"allowed":false}`},
		"far too much":     {200, `{"more":"` + strings.Repeat("a", 9<<20) + `"}`},
	} {
		client := serving(t, answer.status, answer.body)
		if got, err := client.Consume(t.Context(), "req_1", want); err == nil || got != (behalf.Consumed{}) {
			t.Errorf("%s: got %+v, %v, want an error", name, got, err)
		}
	}
	server := httptest.NewServer(http.NotFoundHandler())
	client := behalf.Client{BaseURL: server.URL}
	server.Close()
	if _, err := client.Consume(t.Context(), "req_1", want); !errors.Is(err, behalf.ErrUnavailable) {
		t.Errorf("no server: got %v, want %v", err, behalf.ErrUnavailable)
	}
	if _, err := client.ReceiptKeys(t.Context()); !errors.Is(err, behalf.ErrUnavailable) {
		t.Errorf("no server: got %v, want %v", err, behalf.ErrUnavailable)
	}
	if _, err := serving(t, 404, `{"error":{"code":"NOT_FOUND","message":"none"}}`).ReceiptKeys(t.Context()); err == nil {
		t.Error("no keys: got no error")
	}
}

// A service that an agent comes to checks the receipt it brings, without asking
// anybody.
func ExampleVerifyReceipt() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/jwks.json" {
			_, _ = io.WriteString(w, keySet())
		}
	}))
	defer server.Close()
	client := behalf.Client{BaseURL: server.URL}
	keys, err := client.ReceiptKeys(context.Background()) // kept, and read again now and then
	if err != nil {
		fmt.Println(err)
		return
	}
	brought := signed(goodHeader, claims)
	now := time.Unix(1795435230, 0)
	receipt, err := behalf.VerifyReceipt(brought, keys, behalf.Expected{
		AccountID: "acct_1", AgentID: "ollie", Action: "purchase", Audience: "coachella.com", Amount: "742.00", Currency: "USD",
		MaxAge: time.Minute,
	}, now)
	if err != nil {
		fmt.Println("don't sell:", err)
		return
	}
	fmt.Println("sell, once, on", receipt.RequestID)
	// Output: sell, once, on req_1
}
