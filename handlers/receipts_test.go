package handlers_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// signing has a node sign receipts that are good for a minute, with keys that
// all nodes have.
func (n *node) signing(t *testing.T) *node {
	ring, err := webhooksig.NewKeyring(bytes.Repeat([]byte{7}, webhooksig.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	n.Receipts = &handlers.Receipts{
		Passports: n.passports, Lifetime: time.Minute,
		Key: func(account domain.AccountID, version int) (ed25519.PrivateKey, error) {
			return ring.ReceiptKey(string(account), version)
		},
	}
	return n
}

// shop is an agent that may buy, and its key.
func shop(t *testing.T, b *bed, w *web) string {
	t.Helper()
	key := w.register(b.token, "agent_ollie")
	w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"buy","vendors":["x.com"],"maxAmount":"50","currency":"USD"}`)
	w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"pay","vendors":["x.com"],"requiresApproval":true}`)
	return key
}

const buysTen = `{"action":"buy","vendor":"x.com","amount":10,"arguments":{"n":1}}`

func receiptKeys(t *testing.T, w *web) behalf.ReceiptKeys {
	t.Helper()
	keys, err := behalf.ParseReceiptKeys([]byte(w.must(200, "GET", "/.well-known/jwks.json", "", "").text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

var expected = behalf.Expected{AccountID: string(home), AgentID: "agent_ollie", Action: "buy", Audience: "x.com", Amount: "10.00", Currency: "USD"}

func TestReceipts(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		key := shop(t, b, w)
		if off := w.must(200, "POST", "/v1/verify", key, buysTen); off.body["allowed"] != true || strings.Contains(off.text, "receipt") {
			t.Errorf("off: got %s, want an allow and no receipt", off.text)
		}
		for _, path := range []string{"/v1/decisions/req_01K8M5C0W2X4Y6Z8A0B2C4D6E8/consume", "/v1/receipt-keys/rotate"} {
			w.must(404, "POST", path, b.token, `{}`)
		}
		w.must(404, "GET", "/.well-known/jwks.json", "", "")

		n.signing(t)
		allowed := w.must(200, "POST", "/v1/verify", key, strings.Replace(buysTen, "{", `{"idempotencyKey":"one",`, 1))
		receipt, _ := allowed.body["receipt"].(string)
		got, err := behalf.VerifyReceipt(receipt, receiptKeys(t, w), expected, time.Now())
		if err != nil || got.RequestID != allowed.body["requestId"] || got.PermissionID != allowed.body["permissionId"] ||
			got.ExpiresAt.Sub(got.DecidedAt) != time.Minute || len(got.ArgumentsDigest) != 64 {
			t.Fatalf("got %+v, %v of %s", got, err, allowed.text)
		}
		if again := w.must(200, "POST", "/api/verify", key, strings.Replace(buysTen, "{", `{"idempotencyKey":"one",`, 1)); again.text != allowed.text {
			t.Errorf("a repeat: got %s, want %s", again.text, allowed.text)
		}
		for _, body := range []string{strings.Replace(buysTen, "10", "51", 1), `{"action":"pay","vendor":"x.com"}`, `{"action":"fly"}`} {
			if no := w.must(200, "POST", "/v1/verify", key, body); no.body["receipt"] != nil || no.body["allowed"] != false {
				t.Errorf("%s: got %s, want no receipt", body, no.text)
			}
		}
		if read := w.must(200, "GET", "/v1/decisions/"+got.RequestID, key, ""); read.body["receipt"] != nil {
			t.Errorf("read again: got %s, want no receipt", read.text)
		}
		yes := w.authzen("POST", evaluationPath, key, `{"subject":{"type":"agent","id":"agent_ollie"},"action":{"name":"buy"},"resource":{"type":"vendor","id":"x.com","properties":{"amount":"10.00"}}}`)
		context, _ := yes.body["context"].(map[string]any)
		if text, _ := context["receipt"].(string); yes.body["decision"] != true {
			t.Errorf("AuthZEN: got %s, want yes", yes.text)
		} else if _, err := behalf.VerifyReceipt(text, receiptKeys(t, w), expected, time.Now()); err != nil {
			t.Errorf("AuthZEN: %v", err)
		}
	})
}

func TestReceiptKeysAreRotated(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().signing(t).web(t)
		key := shop(t, b, w)
		sign := func() string {
			return w.must(200, "POST", "/v1/verify", key, buysTen).body["receipt"].(string)
		}
		good := func(receipt string) bool {
			_, err := behalf.VerifyReceipt(receipt, receiptKeys(t, w), expected, time.Now())
			return err == nil
		}
		first := sign()
		w.must(403, "POST", "/v1/receipt-keys/rotate", key, `{}`)
		w.must(400, "POST", "/v1/receipt-keys/rotate", b.token, `{"overlap":"-1s"}`)
		w.must(200, "POST", "/v1/receipt-keys/rotate", b.token, `{}`)
		second := sign()
		if !good(first) || !good(second) {
			t.Errorf("got the first good: %t, the second: %t, want both", good(first), good(second))
		}
		w.must(200, "POST", "/v1/receipt-keys/rotate", b.token, `{"overlap":"0s"}`)
		third := sign()
		if good(first) || good(second) || !good(third) {
			t.Errorf("got %t, %t, %t, want the third alone to be good", good(first), good(second), good(third))
		}
		// Another node has the same keys.
		other := b.node().signing(t).web(t)
		if got, want := other.must(200, "GET", "/.well-known/jwks.json", "", "").text, w.must(200, "GET", "/.well-known/jwks.json", "", "").text; got != want {
			t.Errorf("another node: got %s, want %s", got, want)
		}
	})
}

func TestReceiptsAreConsumedOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node().signing(t)
		nodes := []*web{n.web(t), b.node().signing(t).web(t), b.node().signing(t).web(t)}
		w := nodes[0]
		key := shop(t, b, w)
		viewer := w.must(201, "POST", "/v1/members", b.token, `{"name":"till","role":"VIEWER"}`).body["token"].(string)
		foreign := b.foreign(n)
		verify := func() string {
			return w.must(200, "POST", "/v1/verify", key, buysTen).body["requestId"].(string)
		}
		consume := func(w *web, token, id, body string) reply {
			return w.do("POST", "/v1/decisions/"+id+"/consume", token, body)
		}
		id := verify()
		version := w.must(200, "GET", "/v1/passport", key, "").body["passportVersion"]
		const meant = `{"agentId":"agent_ollie","action":"buy","audience":"x.com","amount":"10","currency":"USD"}`
		for name, c := range map[string]struct {
			token, id, body string
			want            int
		}{
			"an agent":                  {key, id, meant, 403},
			"nobody":                    {"bhf_dev_" + strings.Repeat("a", 43), id, meant, 401},
			"another agent is meant":    {viewer, id, strings.Replace(meant, "ollie", "other", 1), 409},
			"another action is meant":   {viewer, id, strings.Replace(meant, "buy", "sell", 1), 409},
			"another audience is meant": {viewer, id, strings.Replace(meant, "x.com", "y.com", 1), 409},
			"another amount is meant":   {viewer, id, strings.Replace(meant, "10", "11", 1), 409},
			"what nobody knows":         {viewer, id, `{"maxAmount":1}`, 400},
			"an empty agent":            {viewer, id, strings.Replace(meant, "agent_ollie", "", 1), 400},
			"an empty action":           {viewer, id, strings.Replace(meant, "buy", "", 1), 400},
			"an empty audience":         {viewer, id, strings.Replace(meant, "x.com", "", 1), 400},
			"an empty currency":         {viewer, id, strings.Replace(meant, "USD", "", 1), 400},
			"an empty amount":           {viewer, id, strings.Replace(meant, "10", "", 1), 400},
			"an amount and no currency": {viewer, id, `{"amount":"10"}`, 400},
			"an amount as a float":      {viewer, id, strings.Replace(meant, `"10"`, "1e1", 1), 409},
			"two amounts":               {viewer, id, strings.Replace(meant, "{", `{"amount":"11",`, 1), 400},
			"more behind it":            {viewer, id, meant + "{}", 400},
			"another's decision":        {foreign, id, meant, 404},
			"no such decision":          {viewer, "req_01K8M5C0W2X4Y6Z8A0B2C4D6E8", meant, 404},
			"a denial":                  {viewer, w.must(200, "POST", "/v1/verify", key, `{"action":"fly"}`).body["requestId"].(string), `{}`, 409},
		} {
			if got := consume(w, c.token, c.id, c.body); got.status != c.want {
				t.Errorf("%s: got %d %s, want %d", name, got.status, got.text, c.want)
			}
		}
		synctest.Wait() // every node has read whose token the till's is
		var taken atomic.Int64
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				switch got := consume(nodes[i%3], viewer, id, meant); {
				case got.status == 200 && got.body["requestId"] == id && got.body["consumedAt"] != nil:
					taken.Add(1)
				case got.status != 409:
					t.Errorf("got %d %s, want 200 once and 409", got.status, got.text)
				}
			})
			wg.Go(func() { // the passport moves meanwhile
				if i < 5 {
					w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"other"}`)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1 {
			t.Errorf("got it consumed %d times, want once", taken.Load())
		}
		next := verify()
		before := w.must(200, "GET", "/v1/passport", key, "").body["passportVersion"]
		if got := consume(w, viewer, next, `{}`); got.status != 200 {
			t.Errorf("got %d %s, want 200", got.status, got.text)
		}
		if after := w.must(200, "GET", "/v1/passport", key, "").body["passportVersion"]; after != before || after == version {
			t.Errorf("got the passport at %v after %v, want it where it was", after, before)
		}
		late := verify()
		time.Sleep(time.Minute)
		if got := consume(w, viewer, late, `{}`); got.status != 409 {
			t.Errorf("expired: got %d %s, want 409", got.status, got.text)
		}
		lost := verify()
		n.log.AfterAppend(func(domain.Record) error { return errBroken })
		if got := consume(w, viewer, lost, `{}`); got.status != 503 {
			t.Errorf("the answer of the log was lost: got %d %s, want 503", got.status, got.text)
		}
		n.log.AfterAppend(nil)
		if got := consume(nodes[1], viewer, lost, `{}`); got.status != 409 {
			t.Errorf("after that: got %d %s, want 409", got.status, got.text)
		}
		gone := verify()
		w.must(200, "POST", "/v1/agents/agent_ollie/disable", b.token, `{}`)
		if got := consume(nodes[1], viewer, gone, `{}`); got.status != 409 || !strings.Contains(got.text, "disabled") {
			t.Errorf("disabled: got %d %s, want 409", got.status, got.text)
		}
	})
}

// Every way in which a receipt is not what it should be.
func TestBadReceipts(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().signing(t).web(t)
		key := shop(t, b, w)
		receipt := w.must(200, "POST", "/v1/verify", key, buysTen).body["receipt"].(string)
		keys, now := receiptKeys(t, w), time.Now()
		parts := strings.Split(receipt, ".")
		cut := func(p ...string) string { return strings.Join(p, ".") }
		with := func(change func(*behalf.Expected)) behalf.Expected { e := expected; change(&e); return e }
		none := "eyJhbGciOiJub25lIn0" // {"alg":"none"}
		for name, c := range map[string]struct {
			receipt string
			keys    behalf.ReceiptKeys
			want    behalf.Expected
			at      time.Time
		}{
			"nothing":                     {"", keys, expected, now},
			"half":                        {cut(parts[0], parts[1]), keys, expected, now},
			"no signature":                {cut(parts[0], parts[1], ""), keys, expected, now},
			"no algorithm":                {cut(none, parts[1], ""), keys, expected, now},
			"another header":              {cut(none, parts[1], parts[2]), keys, expected, now},
			"a claim changed":             {cut(parts[0], parts[1][:10]+"A"+parts[1][11:], parts[2]), keys, expected, now},
			"a signature changed":         {cut(parts[0], parts[1], "AAAA"+parts[2][4:]), keys, expected, now},
			"padded":                      {receipt + "=", keys, expected, now},
			"more behind it":              {receipt + ".x", keys, expected, now},
			"no keys":                     {receipt, behalf.ReceiptKeys{}, expected, now},
			"another account":             {receipt, keys, with(func(e *behalf.Expected) { e.AccountID = "acct_other" }), now},
			"another agent":               {receipt, keys, with(func(e *behalf.Expected) { e.AgentID = "agent_other" }), now},
			"another action":              {receipt, keys, with(func(e *behalf.Expected) { e.Action = "sell" }), now},
			"another audience":            {receipt, keys, with(func(e *behalf.Expected) { e.Audience = "y.com" }), now},
			"another amount":              {receipt, keys, with(func(e *behalf.Expected) { e.Amount = "10.01" }), now},
			"an amount nobody expects":    {receipt, keys, with(func(e *behalf.Expected) { e.Amount = "" }), now},
			"another currency":            {receipt, keys, with(func(e *behalf.Expected) { e.Currency = "EUR" }), now},
			"no agent that is expected":   {receipt, keys, with(func(e *behalf.Expected) { e.AgentID = "" }), now},
			"no account that is expected": {receipt, keys, with(func(e *behalf.Expected) { e.AccountID = "" }), now},
			"expired":                     {receipt, keys, expected, now.Add(time.Minute)},
			"too old":                     {receipt, keys, with(func(e *behalf.Expected) { e.MaxAge = 10 * time.Second }), now.Add(12 * time.Second)},
			"of the future":               {receipt, keys, expected, now.Add(-time.Minute)},
		} {
			if got, err := behalf.VerifyReceipt(c.receipt, c.keys, c.want, c.at); err == nil || got != (behalf.Receipt{}) || !strings.Contains(err.Error(), behalf.ErrReceipt.Error()) {
				t.Errorf("%s: got %+v, %v, want no receipt", name, got, err)
			}
		}
		if _, err := behalf.VerifyReceipt(receipt, keys, with(func(e *behalf.Expected) { e.MaxAge = 30 * time.Second }), now.Add(20*time.Second)); err != nil {
			t.Errorf("young enough: %v", err)
		}
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal([]byte(w.must(200, "GET", "/.well-known/jwks.json", "", "").text), &set); err != nil || len(set.Keys) != 1 || set.Keys[0]["d"] != "" {
			t.Errorf("got %v (%v), want one public key", set, err)
		}
		broken := `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}]}`
		if _, err := behalf.ParseReceiptKeys([]byte(broken)); err == nil {
			t.Error("got a broken key taken, want an error")
		}
	})
}
