package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// What a NATS client has open ends with the credential it came with.
func TestANATSConnectionEndsWithItsCredential(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	member := func(name string) (id, token string) {
		t.Helper()
		var added struct{ MemberID, Token string }
		if err := json.Unmarshal([]byte(s.must(201, "POST", "/v1/members", testToken, `{"name":"`+name+`","role":"VIEWER"}`)), &added); err != nil {
			t.Fatal(err)
		}
		return added.MemberID, added.Token
	}
	ben, benToken := member("Ben")
	vi, viToken := member("Vi")
	mia := s.agent("agent_mia")
	for _, tt := range []struct {
		name, credential, method, path, body string
		back                                 bool // whether it lets them in again
	}{
		{"a rotated key", s.agent("agent_ollie"), "POST", "/v1/agents/agent_ollie/rotate-key", `{}`, false},
		{"a disabled agent", s.agent("agent_sam"), "POST", "/v1/agents/agent_sam/disable", `{}`, false},
		{"a rotated token", benToken, "POST", "/v1/members/" + ben + "/rotate-token", `{}`, false},
		{"a removed member", viToken, "DELETE", "/v1/members/" + vi, ``, false},
		{"another's key", mia, "POST", "/v1/agents/agent_ollie/rotate-key", `{}`, true},
	} {
		connect := func(closed nats.ConnHandler) (*nats.Conn, error) {
			return nats.Connect("nats://"+s.nats, nats.UserInfo("me", tt.credential), nats.MaxReconnects(0), nats.ClosedHandler(closed))
		}
		ended := make(chan struct{})
		nc, err := connect(func(*nats.Conn) { close(ended) })
		if err != nil {
			t.Fatalf("%s: connect: %v", tt.name, err)
		}
		want := 200
		if tt.method == "DELETE" {
			want = 204
		}
		s.must(want, tt.method, tt.path, testToken, tt.body)
		if !tt.back {
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				t.Errorf("%s: the connection is still open", tt.name)
			}
		}
		if err := nc.Flush(); (err == nil) != tt.back {
			t.Errorf("%s: got error %v, want it open: %t", tt.name, err, tt.back)
		}
		nc.Close()
		again, err := connect(func(*nats.Conn) {})
		if (err == nil) != tt.back {
			t.Errorf("%s: got error %v, want it let in again: %t", tt.name, err, tt.back)
		}
		if err == nil {
			again.Close()
		}
	}
	s.must(200, "POST", "/v1/agents/agent_sam/enable", testToken, `{}`)
}
