package handlers_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// The advice has to make sense to those who sent no key too.
func TestAVerifyThatWasNotRecordedSaysHowToRepeat(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		key, _ := n.agent("agent_ollie")
		n.log.BeforeAppend(func(domain.Record) error { return errBroken })
		for _, idempotency := range []string{"", "k1"} {
			a := ask()
			a.IdempotencyKey = idempotency
			_, err := n.verify(key, a)
			wantCode(t, err, "UNAVAILABLE")
			if got := handlers.FaultOf(err).Message; !strings.HasSuffix(got, "; ask again, with the same idempotencyKey if you sent one") {
				t.Errorf("with the key %q: got %q", idempotency, got)
			}
		}
	})
}

// The account is looked at once more after its member was let in.
func TestAnAccountThatBecomesUnreadableSaysSo(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/account", "/v1/members"} {
		t.Run(path, func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				n := b.node()
				n.Limits = handlers.Limits{Members: handlers.NewLimiter(5, func() time.Time { // asked between the two
					b.log.Inject(domain.Stream{Account: home}, []byte(`not JSON`))
					synctest.Wait()
					return time.Now()
				})}
				r := n.web(t).do("GET", path, b.token, "")
				if r.status != 503 || !strings.Contains(r.text, "upgrade it") {
					t.Errorf("got %d %s, want 503 and what to do", r.status, r.text)
				}
			})
		})
	}
}
