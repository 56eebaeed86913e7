package schemas_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/infra/outbound"
	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// webhookCase is one delivery for verify.mjs to look at.
type webhookCase struct {
	Name    string            `json:"name"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"` // in base64
	Keys    []string          `json:"keys"`
	Now     int64             `json:"now"` // in milliseconds
	Want    string            `json:"want"`
}

// lookAtAll prints, for each case, the event's id or the code of the error.
const lookAtAll = `
import { readFileSync } from "node:fs";
import { verifyWebhook } from "./webhooks/verify.mjs";
const got = JSON.parse(readFileSync(0, "utf8")).map((c) => {
  const body = Buffer.from(c.body ?? "", "base64");
  const tries = [c.headers, new Headers(c.headers)].map((headers) => {
    try {
      const event = verifyWebhook(headers, body, c.keys ?? [], { now: c.now });
      return [event.id, event.type, event.at.toISOString(), event.sentAt.toISOString(), JSON.stringify(event.data)].join(" ");
    } catch (error) {
      return error.code ?? String(error);
    }
  });
  return tries[0] === tries[1] ? tries[0] : tries.join(" or ");
});
console.log(JSON.stringify(got));
`

func TestReceiversInNode(t *testing.T) {
	t.Parallel()
	node := findNode(t)
	cases := webhookCases(t)
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), node, "--input-type=module", "-e", lookAtAll)
	var faults bytes.Buffer
	run.Stdin, run.Stderr = bytes.NewReader(input), &faults
	output, err := run.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, faults.String())
	}
	var got []string
	if err := json.Unmarshal(output, &got); err != nil || len(got) != len(cases) {
		t.Fatalf("got %s (%v), want %d results", output, err, len(cases))
	}
	for i, c := range cases {
		if got[i] != c.Want {
			t.Errorf("%s: got %q, want %q", c.Name, got[i], c.Want)
		}
	}
}

// The example takes what the sender sends, once, and refuses another secret.
func TestExampleReceiverInNode(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	run := exec.CommandContext(t.Context(), findNode(t), "webhooks/receiver.mjs")
	run.Env = append(os.Environ(), "PORT=0", "WEBHOOK_SECRET="+secret)
	var printed bytes.Buffer
	run.Stdout = &printed
	stderr, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = run.Process.Kill() }()
	lines := bufio.NewScanner(stderr)
	lines.Scan()
	at := strings.TrimPrefix(lines.Text(), "listening on ")

	client, err := outbound.New(outbound.Config{Policy: outbound.Policy{HTTP: true, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d := outbound.Delivery{URL: at, ID: "evt_01", At: time.Now(), Body: []byte(`{"type":"a.b","timestamp":"2026-11-23T12:00:00.000Z","data":{"n":1}}`)}
	for i, want := range []struct {
		secret webhooksig.Secret
		status int
	}{{secret, 204}, {secret, 204}, {"whsec_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 401}} {
		if d.Signer, err = webhooksig.NewSigner(webhooksig.V1, webhooksig.Key{Secret: want.secret}); err != nil {
			t.Fatal(err)
		}
		if got := client.Send(t.Context(), d); got.Status != want.status {
			t.Errorf("delivery %d: got %+v, want status %d", i, got, want.status)
		}
	}
	_ = run.Process.Kill()
	_ = run.Wait()
	if got, want := printed.String(), "a.b {\"n\":1}\n"; got != want {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

func webhookCases(t *testing.T) []webhookCase {
	ring, err := webhooksig.NewKeyring(slices.Repeat([]byte{1}, webhooksig.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var public, secret [4]string
	for version := 1; version <= 3; version++ {
		s, err := ring.Secret("acct_1", "whe_1", version)
		if err != nil {
			t.Fatal(err)
		}
		secret[version] = string(s)
		if public[version], err = ring.PublicKey("acct_1", "whe_1", version); err != nil {
			t.Fatal(err)
		}
	}
	const taken = `evt_01 a.b 2026-11-23T11:00:00.000Z 2026-11-23T12:00:00.000Z {"n":"é"}`
	const all = webhooksig.V1 | webhooksig.V1a | webhooksig.Reference
	var cases []webhookCase
	add := func(name, want string, schemes webhooksig.Scheme, form webhooksig.Form, keys []string, change func(*webhookCase)) {
		body, err := webhooksig.Body{ID: "evt_01", Type: "a.b", At: at.Add(-time.Hour), Data: []byte(`{"n":"é"}`)}.Append(nil, form)
		if err != nil {
			t.Fatal(err)
		}
		fields, err := ring.Sign("acct_1", "whe_1", schemes, []int{2, 1}, webhooksig.Message{ID: "evt_01", At: at, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		c := webhookCase{Name: name, Headers: map[string]string{}, Body: body, Keys: keys, Now: at.UnixMilli(), Want: want}
		for _, f := range fields {
			c.Headers[strings.ToLower(f.Name)] = f.Value
		}
		if change != nil {
			change(&c)
		}
		cases = append(cases, c)
	}
	later := func(d time.Duration) func(*webhookCase) { return func(c *webhookCase) { c.Now += d.Milliseconds() } }
	header := func(name, value string) func(*webhookCase) { return func(c *webhookCase) { c.Headers[name] = value } }

	add("v1, old key", taken, webhooksig.V1, webhooksig.Standard, []string{secret[1]}, nil)
	add("v1, new key", taken, webhooksig.V1, webhooksig.Standard, []string{secret[2]}, nil)
	add("v1a, old key", taken, all, webhooksig.Standard, []string{public[1]}, nil)
	add("v1a, new key", taken, all, webhooksig.ReferenceForm, []string{public[3], public[2]}, nil)
	add("reference", taken, webhooksig.Reference, webhooksig.ReferenceForm, []string{secret[1], secret[2]}, nil)
	add("just in time", taken, all, webhooksig.Standard, []string{secret[2]}, later(5*time.Minute))
	add("just not too early", taken, all, webhooksig.Standard, []string{secret[2]}, later(-5*time.Minute))
	add("too late", "stale", all, webhooksig.Standard, []string{secret[2]}, later(5*time.Minute+time.Second))
	add("too early", "stale", all, webhooksig.Standard, []string{secret[2]}, later(-5*time.Minute-time.Second))
	add("another key", "forged", all, webhooksig.Standard, []string{secret[3], public[3]}, nil)
	add("public key without v1a", "forged", webhooksig.V1, webhooksig.Standard, []string{public[2]}, nil)
	add("another body", "forged", all, webhooksig.Standard, []string{secret[2], public[2]}, func(c *webhookCase) { c.Body = append(c.Body, ' ') })
	add("another id", "forged", all, webhooksig.Standard, []string{secret[2], public[2]}, header("webhook-id", "evt_02"))
	add("another time", "forged", all, webhooksig.Standard, []string{secret[2], public[2]}, header("webhook-timestamp", strconv.FormatInt(at.Unix()+1, 10)))
	add("not made good by the reference's", "forged", all, webhooksig.ReferenceForm, []string{secret[2]}, header("webhook-signature", "v1,AAAA"))
	add("another id, reference", "body", webhooksig.Reference, webhooksig.ReferenceForm, []string{secret[2]}, header("behalfid-event-id", "evt_02"))
	add("an id nobody signed", "body", webhooksig.Reference, webhooksig.Standard, []string{secret[2]}, nil)
	add("cut off", "forged", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, func(c *webhookCase) {
		c.Headers["webhook-signature"] = c.Headers["webhook-signature"][:20]
	})
	add("empty signature", "forged", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, header("webhook-signature", "v1,"))
	add("junk around base64", "forged", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, func(c *webhookCase) {
		c.Headers["webhook-signature"] = strings.ReplaceAll(c.Headers["webhook-signature"], "v1,", "v1,!")
	})
	add("no signature", "unsigned", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, func(c *webhookCase) { delete(c.Headers, "webhook-signature") })
	add("no headers", "unsigned", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, func(c *webhookCase) { clear(c.Headers) })
	add("two ids", "unsigned", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, header("webhook-id", "evt_01, evt_02"))
	add("an id with a dot", "unsigned", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, header("webhook-id", "evt.1"))
	add("a time that is no number", "unsigned", webhooksig.V1, webhooksig.Standard, []string{secret[2]}, header("webhook-timestamp", "1e9"))
	add("no keys", "key", webhooksig.V1, webhooksig.Standard, nil, nil)
	add("an empty secret", "key", webhooksig.V1, webhooksig.Standard, []string{secret[2], "whsec_"}, nil)
	add("a private key", "key", webhooksig.V1, webhooksig.Standard, []string{"whsk_" + secret[2][6:]}, nil)
	return cases
}

// findNode skips the test where no Node 18 or later is installed: it is the
// receivers' tool, and nothing of the server's.
func findNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the JavaScript for receivers is not tested here")
	}
	version, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Fatalf("node --version: %v", err)
	}
	major := regexp.MustCompile(`^v(\d+)\.`).FindSubmatch(version)
	if major == nil {
		t.Fatalf("node --version says %q", version)
	}
	if n, _ := strconv.Atoi(string(major[1])); n < 18 {
		t.Skipf("node is %s, and the JavaScript for receivers needs 18 or later", bytes.TrimSpace(version))
	}
	return node
}
