package behalf_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/behalf-platform/behalf"
)

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isDenied(err error) bool      { return isA[*behalf.Denied](err) }
func isRequired(err error) bool    { return isA[*behalf.ApprovalRequired](err) }
func isUnavailable(err error) bool { return isA[*behalf.Unavailable](err) }

const noDecision = "unavailable, not denied: there is no decision to act on: "

// Each surface, over each transport, blocks on everything that is not an allow
// of exactly what was asked, and says which of the three it is.
func TestWhateverIsNoAllowBlocks(t *testing.T) {
	t.Parallel()
	const once, anew = 1, 3
	wrong := "no decision on what was asked: "
	for name, c := range map[string]struct {
		said  said
		is    func(error) bool
		texts []string
		asked int32
	}{
		"denied": {
			said{status: 200, body: strings.Replace(packetWith(`"allowed","allowed":true`, `"denied","allowed":false`), `"ALLOWED","reason":""`, `"NO_PERMISSION","reason":"no permission"`, 1)},
			isDenied,
			[]string{"denied: ollie may not purchase: NO_PERMISSION (request req_1): no permission"},
			once,
		},
		"requires approval": {
			said{status: 200, body: packetWith(`"allowed","allowed":true`, `"requires_approval","approvalId":"apr_1","allowed":false`)},
			isRequired,
			[]string{"approval required: ollie may purchase once a person approves apr_1 (request req_1)"},
			once,
		},
		"a denial that is none": {
			said{status: 200, body: strings.Replace(packetWith(`"allowed","allowed":true`, `"denied","allowed":false`), `"ALLOWED"`, `"UNAVAILABLE"`, 1)},
			isUnavailable,
			[]string{noDecision},
			once,
		},

		"slow":                       {said{silent: true}, isUnavailable, []string{noDecision, "deadline exceeded"}, once},
		"500":                        {said{status: 500, body: "oops"}, isUnavailable, []string{noDecision, "500", "not one of a Behalf server's"}, anew},
		"500 with an allow":          {said{status: 500, body: packet}, isUnavailable, []string{noDecision, "500"}, anew},
		"503":                        {said{status: 503, body: `{"allowed":false,"error":{"code":"UNAVAILABLE","message":"the disk is full"}}`}, isUnavailable, []string{noDecision, "the disk is full (UNAVAILABLE)"}, anew},
		"503 for longer than it may": {said{status: 503, retryAfter: "60", body: `{"error":{"code":"UNAVAILABLE","message":"later"}}`}, isUnavailable, []string{noDecision, "later"}, once},
		"401":                        {said{status: 401, body: `{"error":{"code":"UNAUTHENTICATED","message":"the credential is unknown"}}`}, isUnavailable, []string{noDecision, "the credential is unknown (UNAUTHENTICATED)"}, once},
		"401 with an allow":          {said{status: 401, body: packet}, isUnavailable, []string{noDecision, "401"}, once},
		"400":                        {said{status: 400, body: `{"error":{"code":"INVALID_REQUEST","message":"is no host","field":"/vendor"}}`}, isUnavailable, []string{noDecision, "/vendor: is no host (INVALID_REQUEST)"}, once},
		"429":                        {said{status: 429, retryAfter: "1", body: `{"error":{"code":"RATE_LIMITED","message":"too many"}}`}, isUnavailable, []string{noDecision, "too many (RATE_LIMITED)"}, once},

		"malformed":                {said{status: 200, body: `{"allowed":tru`}, isUnavailable, []string{noDecision, "can't be read"}, anew},
		"a page":                   {said{status: 200, body: "<html>allowed</html>"}, isUnavailable, []string{noDecision, "can't be read"}, anew},
		"empty":                    {said{status: 200}, isUnavailable, []string{noDecision, "can't be read"}, anew},
		"nothing in it":            {said{status: 200, body: "{}"}, isUnavailable, []string{noDecision, wrong, `its decision, "", is unknown`}, once},
		"null":                     {said{status: 200, body: "null"}, isUnavailable, []string{noDecision, wrong}, once},
		"cut off":                  {said{status: 200, body: packet[:200], short: true}, isUnavailable, []string{noDecision}, anew},
		"a preview":                {said{status: 200, body: `{"agentId":"ollie","wouldBe":"allowed","action":"purchase","vendor":"coachella.com"}`}, isUnavailable, []string{noDecision, wrong, "nothing was decided"}, once},
		"a dry run":                {said{status: 200, body: packetWith(`{`, `{"dryRun":true,`)}, isUnavailable, []string{noDecision, wrong, "nothing was decided"}, once},
		"another agent":            {said{status: 200, body: packetWith(`"ollie"`, `"mia"`)}, isUnavailable, []string{noDecision, wrong, `the agent "mia", not "ollie"`}, once},
		"another action":           {said{status: 200, body: packetWith(`"purchase"`, `"refund"`)}, isUnavailable, []string{noDecision, wrong, `the action "refund", not "purchase"`}, once},
		"another vendor":           {said{status: 200, body: packetWith(`"coachella.com"`, `"evil.io"`)}, isUnavailable, []string{noDecision, wrong, `the vendor "evil.io"`}, once},
		"another resource":         {said{status: 200, body: packetWith(`"vendor"`, `"resource":"x","vendor"`)}, isUnavailable, []string{noDecision, wrong, `the resource "x"`}, once},
		"another amount":           {said{status: 200, body: packetWith(`"vendor"`, `"amount":"1.00","currency":"USD","vendor"`)}, isUnavailable, []string{noDecision, wrong, `the amount "1.00"`}, once},
		"allowed, and denied":      {said{status: 200, body: packetWith(`"decision":"allowed"`, `"decision":"denied"`)}, isUnavailable, []string{noDecision, wrong, "contradicts itself"}, once},
		"decided, but not allowed": {said{status: 200, body: packetWith(`"allowed":true`, `"allowed":false`)}, isUnavailable, []string{noDecision, wrong, "contradicts itself"}, once},
		"no allowed":               {said{status: 200, body: packetWith(`"allowed":true,`, ``)}, isUnavailable, []string{noDecision, wrong, "contradicts itself"}, once},
		"an unknown decision":      {said{status: 200, body: packetWith(`"decision":"allowed"`, `"decision":"permitted"`)}, isUnavailable, []string{noDecision, wrong, `"permitted", is unknown`}, once},
		"not recorded":             {said{status: 200, body: packetWith(`"req_1"`, `""`)}, isUnavailable, []string{noDecision, wrong, "where it is recorded"}, once},
	} {
		for transport, fake := range fakes {
			t.Run(name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				var all sync.WaitGroup
				for surface, try := range surfaces {
					f := fake(t, c.said)
					all.Go(func() {
						ran, err := try(f.untilHeard(t.Context(), c.said), t, f.client)
						wantBlocked(t, surface, ran, err, c.is, c.texts...)
						if n := f.asked.Load(); n != c.asked {
							t.Errorf("%s asked %d times, want %d", surface, n, c.asked)
						}
					})
				}
				plain := fake(t, c.said)
				all.Go(func() {
					p, err := plain.client.Verify(plain.untilHeard(t.Context(), c.said), ask)
					wantNoAllow(t, p, err, c.texts[1:])
				})
				all.Wait()
			})
		}
	}
}

// wantNoAllow fails unless a Verify is answered by a whole decision that is no
// allow, or by an error that says why there is none.
func wantNoAllow(t *testing.T, p behalf.Packet, err error, texts []string) {
	t.Helper()
	if p.Allowed || (err == nil) == (p.Decision == "") {
		t.Errorf("Verify: got %+v, %v; want a decision that is no allow, or an error", p, err)
	}
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Verify: got %v, want it to say %q", err, text)
		}
	}
}

// wantBlocked fails unless the error is the one of three it ought to be, and
// nothing ran.
func wantBlocked(t *testing.T, surface string, ran bool, err error, is func(error) bool, texts ...string) {
	t.Helper()
	if ran {
		t.Errorf("%s: the action was run", surface)
	}
	n := 0
	for _, one := range []func(error) bool{isDenied, isRequired, isUnavailable} {
		if one(err) {
			n++
		}
	}
	if n != 1 || !is(err) {
		t.Errorf("%s: got %T %v, of %d types; want another type", surface, err, err, n)
		return
	}
	if errors.Is(err, behalf.ErrUnavailable) != isUnavailable(err) {
		t.Errorf("%s: %v: got ErrUnavailable %t", surface, err, errors.Is(err, behalf.ErrUnavailable))
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %q, want it to say %q", surface, err, text)
		}
	}
	if strings.Contains(err.Error(), "bhf_sk") {
		t.Errorf("%s: %q shows the credential", surface, err)
	}
}

// The same fakes, with a packet that is an allow, are what makes the table above
// worth something.
func TestAnAllowLetsThrough(t *testing.T) {
	t.Parallel()
	for transport, fake := range fakes {
		for surface, try := range surfaces {
			f := fake(t, said{status: 200, body: packet})
			if ran, err := try(t.Context(), t, f.client); !ran || err != nil || f.asked.Load() != 1 {
				t.Errorf("%s over %s: got %t, %v, asked %d times; want it run", surface, transport, ran, err, f.asked.Load())
			}
		}
	}
}

func TestWithoutAServerOrConfigurationEverythingIsBlocked(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	away := fakeNATS(t, said{status: 200, body: packet})
	away.client.NATS.Close()
	nobody := mustNATS(t)
	alone, err := behalf.ConnectNATS(nats.DefaultURL, "ollie", "bhf_sk_x", nats.InProcessServer(nobody))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(alone.NATS.Close)
	for name, c := range map[string]struct {
		client *behalf.Client
		text   string
	}{
		"no client":               {nil, "there is no client"},
		"no configuration":        {&behalf.Client{}, "no Token"},
		"no token":                {&behalf.Client{BaseURL: gone.URL}, "no Token"},
		"no token over NATS":      {&behalf.Client{NATS: alone.NATS}, "no Token"},
		"no address":              {&behalf.Client{Token: "bhf_sk_x"}, "no BaseURL"},
		"a broken address":        {&behalf.Client{BaseURL: "http://[", Token: "bhf_sk_x"}, "the server's address"},
		"a server that is down":   {&behalf.Client{BaseURL: gone.URL, Token: "bhf_sk_x"}, "connection refused"},
		"no connection to NATS":   {away.client, "no connection to NATS"},
		"NATS, and nobody behind": {alone, "no node answers"},
	} {
		for surface, try := range surfaces {
			t.Run(name+"/"+surface, func(t *testing.T) {
				t.Parallel()
				ran, err := try(t.Context(), t, c.client)
				wantBlocked(t, surface, ran, err, isUnavailable, noDecision, c.text)
			})
		}
	}
	for _, c := range [][3]string{{"", "ollie", "bhf_sk_x"}, {gone.URL, "", "bhf_sk_x"}, {gone.URL, "ollie", ""}, {"nats" + gone.URL[4:], "ollie", "bhf_sk_x"}} {
		client, err := behalf.ConnectNATS(c[0], c[1], c[2])
		if !errors.Is(err, behalf.ErrUnavailable) || client != nil || strings.Contains(err.Error(), "bhf_sk") {
			t.Errorf("connect with %q: got %v, %v; want ErrUnavailable", c, client, err)
		}
	}
}
