package webhooksig_test

import (
	"testing"
	"time"

	"github.com/behalf-platform/behalf/infra/webhooksig"
)

func TestBody(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 13, 0, 0, 120_999_999, time.FixedZone("", 3600))
	body := webhooksig.Body{ID: "evt_01", Type: `a."b"`, At: at, Data: []byte(`{"n": 1.0}`)}
	for _, test := range []struct {
		name string
		form webhooksig.Form
		with func(*webhooksig.Body)
		want string // empty: refused
	}{
		{name: "standard", form: webhooksig.Standard, want: `{"type":"a.\"b\"","timestamp":"2026-11-23T12:00:00.120Z","data":{"n": 1.0}}`},
		{name: "reference", form: webhooksig.ReferenceForm, want: `{"eventId":"evt_01","type":"a.\"b\"","createdAt":"2026-11-23T12:00:00.120Z","data":{"n": 1.0}}`},
		{name: "no data", with: func(b *webhooksig.Body) { b.Data = nil }},
		{name: "data that ends early", with: func(b *webhooksig.Body) { b.Data = []byte(`{"a":1},"more":1`) }},
		{name: "data with a name twice", with: func(b *webhooksig.Body) { b.Data = []byte(`{"a":1,"a":2}`) }},
		{name: "data that is not UTF-8", with: func(b *webhooksig.Body) { b.Data = []byte("\"\xff\"") }},
		{name: "a type that is not UTF-8", with: func(b *webhooksig.Body) { b.Type = "\xff" }},
		{name: "an id that would need quoting", form: webhooksig.ReferenceForm, with: func(b *webhooksig.Body) { b.ID = `a"b` }},
		{name: "no such form", form: 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := body
			if test.with != nil {
				test.with(&b)
			}
			got, err := b.Append([]byte("kept"), test.form)
			if test.want == "" {
				if err == nil {
					t.Errorf("got %s, want an error", got)
				}
				return
			}
			if err != nil || string(got) != "kept"+test.want {
				t.Errorf("got %s (%v), want %s", got, err, "kept"+test.want)
			}
		})
	}
}
