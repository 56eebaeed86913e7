package behalf_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// A receiver takes a webhook only with a signature, answers before it acts on
// what takes long, and passes over what it has had before.
func ExampleVerifyWebhook() {
	handled := map[string]bool{} // in earnest: a table, written with what the event changes
	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		event, err := behalf.VerifyWebhook(r.Header, body, exampleSecret)
		switch {
		case errors.Is(err, behalf.ErrWebhookKey):
			http.Error(w, "not set up", http.StatusInternalServerError)
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case handled[event.ID]:
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Println(event.Type, string(event.Data))
			handled[event.ID] = true
			w.WriteHeader(http.StatusNoContent)
		}
	}

	for _, body := range []string{exampleBody, exampleBody, `{"type":"forged"}`} {
		request := httptest.NewRequest("POST", "/webhooks", strings.NewReader(body))
		sign(request.Header, exampleBody)
		answer := httptest.NewRecorder()
		receive(answer, request)
		fmt.Println(answer.Code)
	}
	// Output:
	// permission.revoked {"agentId":"agent_ollie"}
	// 204
	// 204
	// 401
}

const (
	exampleSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	exampleBody   = `{"type":"permission.revoked","timestamp":"2026-11-23T12:00:00.000Z","data":{"agentId":"agent_ollie"}}`
)

// sign stands in for a server.
func sign(header http.Header, body string) {
	signer, err := webhooksig.NewSigner(webhooksig.V1, webhooksig.Key{Secret: exampleSecret})
	if err != nil {
		panic(err)
	}
	fields, err := signer.Sign(nil, webhooksig.Message{ID: "evt_01", At: time.Now(), Body: []byte(body)})
	if err != nil {
		panic(err)
	}
	for _, f := range fields {
		header.Set(f.Name, f.Value)
	}
}

func TestVerifyWebhook(t *testing.T) {
	t.Parallel()
	ring, err := webhooksig.NewKeyring(slices.Repeat([]byte{1}, webhooksig.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	standard := webhooksig.Body{ID: "evt_01", Type: "a.b", At: at.Add(-time.Hour), Data: []byte(`{"n":1}`)}
	secret := func(version int) string {
		s, err := ring.Secret("acct_1", "whe_1", version)
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	public := func(version int) string {
		s, err := ring.PublicKey("acct_1", "whe_1", version)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const both = webhooksig.V1 | webhooksig.V1a
	for _, test := range []struct {
		name     string
		schemes  webhooksig.Scheme // of the sender
		versions []int             // with which it signs
		form     webhooksig.Form
		keys     []string // of the receiver
		after    time.Duration
		tamper   func(http.Header, *[]byte)
		want     error
	}{
		{name: "v1", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}},
		{name: "v1a", schemes: both, versions: []int{1}, keys: []string{public(1)}},
		{name: "reference headers", schemes: webhooksig.Reference, versions: []int{1}, form: webhooksig.ReferenceForm, keys: []string{secret(1)}},
		{name: "all headers, reference form", schemes: both | webhooksig.Reference, versions: []int{1}, form: webhooksig.ReferenceForm, keys: []string{secret(1)}},
		{name: "rotating, only the old key", schemes: both, versions: []int{2, 1}, keys: []string{secret(1)}},
		{name: "rotating, only the new key", schemes: both, versions: []int{2, 1}, keys: []string{secret(2)}},
		{name: "rotating, only the old public key", schemes: both, versions: []int{2, 1}, keys: []string{public(1)}},
		{name: "both keys, before the rotation", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(2), secret(1)}},
		{name: "both keys in the reference's way", schemes: webhooksig.Reference, versions: []int{2, 1}, form: webhooksig.ReferenceForm, keys: []string{secret(1), secret(2)}},
		{name: "just in time", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, after: 5 * time.Minute},
		{name: "just not too early", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, after: -5 * time.Minute},

		{name: "too late", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, after: 5*time.Minute + time.Second, want: behalf.ErrWebhookStale},
		{name: "too early", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, after: -5*time.Minute - time.Second, want: behalf.ErrWebhookStale},
		{name: "too late in the reference's way", schemes: webhooksig.Reference, versions: []int{1}, form: webhooksig.ReferenceForm, keys: []string{secret(1)}, after: time.Hour, want: behalf.ErrWebhookStale},
		{name: "forged and too late", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(2)}, after: time.Hour, want: behalf.ErrWebhookForged},
		{name: "after the rotation, only the old key", schemes: both, versions: []int{2}, keys: []string{secret(1), public(1)}, want: behalf.ErrWebhookForged},
		{name: "a public key, and no v1a", schemes: webhooksig.V1 | webhooksig.Reference, versions: []int{1}, keys: []string{public(1)}, want: behalf.ErrWebhookForged},
		{name: "another body", schemes: both, versions: []int{1}, keys: []string{secret(1), public(1)}, tamper: func(_ http.Header, body *[]byte) { *body = append(*body, ' ') }, want: behalf.ErrWebhookForged},
		{name: "another id", schemes: both, versions: []int{1}, keys: []string{secret(1), public(1)}, tamper: set("webhook-id", "evt_02"), want: behalf.ErrWebhookForged},
		{name: "another time", schemes: both, versions: []int{1}, keys: []string{secret(1), public(1)}, tamper: set("webhook-timestamp", strconv.FormatInt(at.Unix()+1, 10)), want: behalf.ErrWebhookForged},
		{name: "another time in the reference's way", schemes: webhooksig.Reference, versions: []int{1}, form: webhooksig.ReferenceForm, keys: []string{secret(1)}, tamper: set("BehalfID-Timestamp", "1"), want: behalf.ErrWebhookForged},
		{name: "another id in the reference's way", schemes: webhooksig.Reference, versions: []int{1}, form: webhooksig.ReferenceForm, keys: []string{secret(1)}, tamper: set("BehalfID-Event-ID", "evt_02"), want: behalf.ErrWebhookBody},
		{name: "an id nobody signed", schemes: webhooksig.Reference, versions: []int{1}, keys: []string{secret(1)}, want: behalf.ErrWebhookBody},
		{name: "a bad signature in the standard's way is not made good by another", schemes: webhooksig.V1 | webhooksig.Reference, versions: []int{1}, form: webhooksig.ReferenceForm, keys: []string{secret(1)}, tamper: set("webhook-signature", "v1,AAAA"), want: behalf.ErrWebhookForged},
		{name: "a signature cut off", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: func(h http.Header, _ *[]byte) { h.Set("webhook-signature", h.Get("webhook-signature")[:20]) }, want: behalf.ErrWebhookForged},
		{name: "another version", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: func(h http.Header, _ *[]byte) {
			h.Set("webhook-signature", strings.Replace(h.Get("webhook-signature"), "v1,", "v2,", 1))
		}, want: behalf.ErrWebhookForged},
		{name: "an empty signature", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: set("webhook-signature", "v1,"), want: behalf.ErrWebhookForged},
		{name: "no signature", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: func(h http.Header, _ *[]byte) { h.Del("webhook-signature") }, want: behalf.ErrWebhookUnsigned},
		{name: "no headers", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: func(h http.Header, _ *[]byte) { clear(h) }, want: behalf.ErrWebhookUnsigned},
		{name: "two ids", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: func(h http.Header, _ *[]byte) { h.Add("webhook-id", "evt_02") }, want: behalf.ErrWebhookUnsigned},
		{name: "an id with a dot", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: set("webhook-id", "evt.1"), want: behalf.ErrWebhookUnsigned},
		{name: "a time that is no number", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: set("webhook-timestamp", "+1"), want: behalf.ErrWebhookUnsigned},
		{name: "a time out of all bounds", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: set("webhook-timestamp", "9223372036854775807"), want: behalf.ErrWebhookUnsigned},
		{name: "a flood of signatures", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)}, tamper: set("webhook-signature", strings.Repeat("v1,A ", 17)), want: behalf.ErrWebhookUnsigned},
		{name: "no keys", schemes: webhooksig.V1, versions: []int{1}, want: behalf.ErrWebhookKey},
		{name: "an empty key", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1), ""}, want: behalf.ErrWebhookKey},
		{name: "an empty secret", schemes: webhooksig.V1, versions: []int{1}, keys: []string{"whsec_"}, want: behalf.ErrWebhookKey},
		{name: "a key without a prefix", schemes: webhooksig.V1, versions: []int{1}, keys: []string{secret(1)[6:]}, want: behalf.ErrWebhookKey},
		{name: "a private key", schemes: webhooksig.V1, versions: []int{1}, keys: []string{"whsk_" + secret(1)[6:]}, want: behalf.ErrWebhookKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			body, err := standard.Append(nil, test.form)
			if err != nil {
				t.Fatal(err)
			}
			fields, err := ring.Sign("acct_1", "whe_1", test.schemes, test.versions, webhooksig.Message{ID: "evt_01", At: at, Body: body})
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			for _, f := range fields {
				header.Set(f.Name, f.Value)
			}
			if test.tamper != nil {
				test.tamper(header, &body)
			}
			verifier := behalf.WebhookVerifier{Keys: test.keys, Now: func() time.Time { return at.Add(test.after) }}
			got, err := verifier.Verify(header, body)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("got error %v, want %v", err, test.want)
			}
			want := behalf.WebhookEvent{ID: "evt_01", Type: "a.b", At: at.Add(-time.Hour), SentAt: at, Data: []byte(`{"n":1}`)}
			if test.want != nil {
				want = behalf.WebhookEvent{}
			}
			if got.ID != want.ID || got.Type != want.Type || !got.At.Equal(want.At) || !got.SentAt.Equal(want.SentAt) || string(got.Data) != string(want.Data) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// What is well signed and no event is told apart from a forgery.
func TestVerifyWebhookBody(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `[]`, `{}`, `{"type":"a","data":1}`, `{"type":"a","timestamp":"x","data":1}`, `{"type":"a","timestamp":"2026-11-23T12:00:00Z"}`, `{"type":"a","type":"b","timestamp":"2026-11-23T12:00:00Z","data":1}`, `{"eventId":"evt_02","type":"a","createdAt":"2026-11-23T12:00:00Z","data":1}`} {
		header := http.Header{}
		sign(header, body)
		if got, err := behalf.VerifyWebhook(header, []byte(body), exampleSecret); !errors.Is(err, behalf.ErrWebhookBody) {
			t.Errorf("%s: got %+v (%v), want %v", body, got, err, behalf.ErrWebhookBody)
		}
	}
}

// Whatever the headers are, nothing is taken that was not signed, and each
// refusal is one of the known ones.
func FuzzVerifyWebhook(f *testing.F) {
	f.Add("evt_01", "1764849600", "v1,AAAA v1a,AAAA", true, []byte(exampleBody))
	f.Add("evt.01", "-1", "v1=00", false, []byte(exampleBody))
	f.Add("", "", ",", true, []byte(`{}`))
	f.Fuzz(func(t *testing.T, id, at, signature string, standard bool, body []byte) {
		header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {at}, "Webhook-Signature": {signature}}
		if !standard {
			header = http.Header{"Behalfid-Event-Id": {id}, "Behalfid-Timestamp": {at}, "Behalfid-Signature": {signature}}
		}
		got, err := behalf.VerifyWebhook(header, body, exampleSecret, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
		if !errors.Is(err, behalf.ErrWebhookForged) && !errors.Is(err, behalf.ErrWebhookUnsigned) {
			t.Errorf("got %+v (%v), want it refused", got, err)
		}
	})
}

func set(name, value string) func(http.Header, *[]byte) {
	return func(h http.Header, _ *[]byte) { h.Set(name, value) }
}
