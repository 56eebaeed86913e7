package memshadow_test

import (
	"errors"
	"testing"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/memshadow"
	"github.com/behalf-platform/behalf/infra/shadowtest"
)

func TestLog(t *testing.T) {
	shadowtest.Run(t, func(*testing.T) shadowtest.Log { return &memshadow.Log{} })
}

func TestAnAppendFailsBeforeItIsStoredOrAfter(t *testing.T) {
	broken := errors.New("broken")
	fail := func(domain.ShadowRecord) error { return broken }
	s := domain.Stream{Account: "acct_a", Agent: "agent_a"}
	r := domain.ShadowRecord{Account: s.Account, Agent: s.Agent, Event: domain.ShadowStarted{}}
	for _, c := range []struct {
		name string
		log  *memshadow.Log
		want error
	}{
		{"not stored", &memshadow.Log{BeforeAppend: fail}, domain.ErrNotRecorded},
		{"stored", &memshadow.Log{AfterAppend: fail}, nil},
	} {
		if _, err := c.log.Append(t.Context(), 0, r); !errors.Is(err, broken) {
			t.Errorf("%s: got %v, want %v", c.name, err, broken)
		}
		if _, err := c.log.Newest(t.Context(), s); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}
