package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// desk is a server whose approvals change from look to look. Each look is a list
// of ids and states, the newest first, "down" for a server that says no to all,
// or "broken" for one that says so after it has listed what is new.
type desk struct {
	looks []string
	end   func() // called when there are no more

	mu sync.Mutex
	// now is the look that is answered, guarded by mu.
	now int
}

// approvalOf is an approval in a state. Those with a higher id are five minutes
// younger each.
func approvalOf(id, state string) string {
	return strings.NewReplacer("apr_1", "apr_"+id, `"openedAt":"2026-11-23T12:00`, `"openedAt":"2026-11-23T12:`+id+`5`).Replace(approvalIn(state))
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	listing, wanted := r.URL.Path == "/v1/approvals", r.URL.Query().Get("state")
	if listing && wanted == "" { // which begins a look
		if d.now++; d.now > len(d.looks) {
			d.end()
			return
		}
	}
	look := strings.Fields(d.looks[min(d.now, len(d.looks))-1])
	if slices.Equal(look, []string{"down"}) || slices.Contains(look, "broken") && wanted != "" {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":{"code":"UNAVAILABLE","message":"stopping"}}`)
		return
	}
	var list []string
	for _, entry := range look {
		id, state, _ := strings.Cut(entry, "=")
		if state == "" {
			continue
		}
		if !listing && strings.HasSuffix(r.URL.Path, "/apr_"+id) {
			_, _ = io.WriteString(w, approvalOf(id, state))
			return
		}
		if wanted == "" || wanted == state {
			list = append(list, approvalOf(id, state))
		}
	}
	_, _ = io.WriteString(w, `{"approvals":[`+strings.Join(list, ",")+`]}`)
}

// watched watches looks to their end, and returns what is printed.
func watched(t *testing.T, output string, looks ...string) (code int, lines []string, errs string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := newConsole(t, (&desk{looks: looks, end: cancel}).ServeHTTP)
	var out, complaints bytes.Buffer
	code = run(ctx, []string{"approvals", "watch", "--every", "1ms", "-o", output}, nil, &out, &complaints, func(name string) string { return c.env[name] })
	if text := strings.TrimSpace(out.String()); text != "" {
		lines = strings.Split(text, "\n")
	}
	return code, lines, complaints.String()
}

func TestWatchTellsEachChange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		looks, want []string
	}{
		{"from asked to used", []string{"1=pending", "1=pending", "1=approved", "1=used", "1=used"}, []string{"1=pending", "1=approved", "1=used"}},
		{"what was over before is not told", []string{"2=pending 1=denied", "2=denied 1=denied"}, []string{"2=pending", "2=denied"}},
		{"opened and ended between two looks", []string{"1=used", "3=used 2=denied 1=used", "3=used 2=denied 1=used"}, []string{"2=denied", "3=used"}},
		{"the first there is ends at once", []string{"", "2=expired 1=denied"}, []string{"1=denied", "2=expired"}},
		{"one that is old ends", []string{"3=used 1=pending", "4=used 3=used 1=pending", "4=used 3=used 1=denied"}, []string{"1=pending", "4=used", "1=denied"}},
		{"the server is away", []string{"1=pending", "down", "down", "2=used 1=approved"}, []string{"1=pending", "1=approved", "2=used"}},
		{"the server goes away in the midst of a look", []string{"1=pending", "2=used 1=approved broken", "2=used 1=used"}, []string{"1=pending", "1=approved", "2=used", "1=used"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, output := range []string{"table", "json"} {
				code, lines, errs := watched(t, output, tt.looks...)
				told := slices.EqualFunc(lines, tt.want, func(line, want string) bool {
					id, state, _ := strings.Cut(want, "=")
					if output == "json" {
						return line == approvalOf(id, state)
					}
					return strings.Contains(line, "  "+state) && strings.HasSuffix(line, "  apr_"+id)
				})
				if code != 0 || !told {
					t.Errorf("%s: got %d\n%s\nwant %v\n%s", output, code, strings.Join(lines, "\n"), tt.want, errs)
				}
				if head := strings.Contains(errs, "STATE"); head != (output == "table") {
					t.Errorf("%s: got the notes %q", output, errs)
				}
			}
		})
	}
}

func TestWatchSaysOnceThatTheServerIsAway(t *testing.T) {
	t.Parallel()
	code, _, errs := watched(t, "json", "1=pending", "down", "down", "down", "1=used", "down", "1=used")
	if n := strings.Count(errs, "stopping (UNAVAILABLE); trying again\n"); code != 0 || n != 2 {
		t.Errorf("got %d and\n%s\nwant it to say twice that the server is away", code, errs)
	}
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	newConsole(t, answering(503, `{"error":{"code":"UNAVAILABLE","message":"stopping"}}`)).wantError(3, []string{"stopping"}, "approvals", "watch", "-o", "json")
	newConsole(t, nil).wantError(2, []string{"--every"}, "approvals", "watch", "--every", "0s")
	var looks atomic.Int32
	c := newConsole(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("state") == "" {
			looks.Add(1)
		}
		if looks.Load() > 1 {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":"UNAUTHENTICATED","message":"the token is not good any more"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"approvals":[]}`)
	})
	c.wantError(1, []string{"not good any more"}, "approvals", "watch", "--every", "1ms", "-o", "json")
}
