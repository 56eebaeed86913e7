package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// mustWrite puts a file into a directory of its own and returns its path.
func mustWrite(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPassportFileIsReadAsTheAPIReadsIt(t *testing.T) {
	t.Parallel()
	const inYAML = `
# a comment
agents:
  - agentId: agent_mia
    name: "Mia"
    driver: mem_1
    limits: {rates: [{count: 10, per: hour}]}
    permissions:
      - key: tickets
        action: purchase
        vendors: coachella.com      # one may stand alone
        maxAmount: 500.00
        requiresApproval: 100
        expiresAt: 2027-01-01T00:00:00+01:00
        timeWindows:
          - {days: [mon], from: 09:00, to: "17:00", timeZone: Europe/Berlin}
`
	const inJSON = "{\"agents\": [{\"agentId\": \"agent_mia\", \"name\": \"Mia\", \"driver\": \"mem_1\",\n\t\"limits\": {\"rates\": [{\"count\": 10, \"per\": \"hour\"}]},\n" +
		"\t\"permissions\": [{\"key\": \"tickets\", \"action\": \"purchase\", \"vendors\": [\"coachella.com\"], \"maxAmount\": \"500.00\",\n" +
		"\t\t\"requiresApproval\": 100, \"expiresAt\": \"2027-01-01T00:00:00+01:00\",\n" +
		"\t\t\"timeWindows\": [{\"days\": [\"mon\"], \"from\": \"09:00\", \"to\": \"17:00\", \"timeZone\": \"Europe/Berlin\"}]}]}]}"
	for name, text := range map[string]string{"passport.yaml": inYAML, "passport.json": inJSON} {
		f, err := readPassport(mustWrite(t, name, text), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(f.agents) != 1 || len(f.agents[0].permissions) != 1 {
			t.Fatalf("%s: got %+v, want an agent with a permission", name, f)
		}
		a := f.agents[0]
		p := a.permissions[0]
		if a.id != "agent_mia" || a.name != "Mia" || a.driver != "mem_1" || a.limits == nil || a.limits.Rates[0].Count != 10 || p.key != "tickets" {
			t.Errorf("%s: got %+v", name, a)
		}
		terms, err := p.accepted(false, time.Time{}, "USD", "UTC")
		if err != nil {
			t.Fatal(err)
		}
		want := domain.Terms{
			Action: "purchase", Vendors: domain.Patterns{"coachella.com"}, MaxAmount: "500.00", Currency: "USD",
			RequiresApproval: domain.ApprovalRule{Above: "100.00"}, ExpiresAt: time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC),
			TimeWindows: []domain.Window{{Days: []string{"mon"}, From: "09:00", To: "17:00", TimeZone: "Europe/Berlin"}},
			Notes:       "key: tickets",
		}
		if fields, err := fieldsOf(terms, want); err != nil || len(fields) > 0 {
			t.Errorf("%s: got %+v, %v, want %+v", name, terms, fields, want)
		}
	}
}

func TestPassportFileRefusals(t *testing.T) {
	t.Parallel()
	const head = "agents:\n  - agentId: a\n    permissions:\n      - key: k\n        action: read\n"
	for _, c := range []struct {
		name, file, text string
		want             []string // "LINE: part" of each complaint
	}{
		{"nothing", "p.yaml", "", []string{"p.yaml: holds nothing"}},
		{"only a comment", "p.yaml", "# x\n", []string{"holds nothing"}},
		{"no agents", "p.yaml", "agents: []\n", []string{"p.yaml:1: names no agents"}},
		{"a list", "p.yaml", "- a\n", []string{":1: a passport is written as fields"}},
		{"an unknown field at the top", "p.yaml", "version: 1\n" + head, []string{`:1: "version" is not a field of a passport`}},
		{"an unknown field of an agent", "p.yaml", "agents:\n  - agentId: a\n    limit: {}\n", []string{`:3: "limit" is not a field of an agent`}},
		{"an unknown field of a permission", "p.yaml", head + "        vendor: x.com\n", []string{":6: /vendor: is not a field of this request"}},
		{"a field in another case", "p.yaml", head + "        maxamount: 1\n", []string{":6: /maxamount: is not a field"}},
		{"an unknown field deep below", "p.yaml", head + "        context:\n          branch: main\n          brnch: x\n", []string{":8: /context/brnch: is not a field"}},
		{"a field twice", "p.yaml", head + "        action: write\n", []string{`:6: "action" is here twice; the first is at line 5`}},
		{"an agent twice", "p.yaml", "agents:\n  - agentId: a\n  - agentId: a\n", []string{":3: agent a is here twice; it begins at line 2"}},
		{"a key twice", "p.yaml", head + "      - action: read\n        key: k\n", []string{":7: key k is here twice; the first is at line 4"}},
		{"no key", "p.yaml", "agents:\n  - agentId: a\n    permissions:\n      - action: read\n", []string{":4: has no key"}},
		{"a key that is none", "p.yaml", "agents:\n  - agentId: a\n    permissions:\n      - {key: a b, action: read}\n", []string{":4: a key is text, 1 to 64"}},
		{"no agentId", "p.yaml", "agents:\n  - name: x\n", []string{":2: /agentId: an id is"}},
		{"a wrong type", "p.yaml", head + "        paths: /x\n", []string{":6: /paths: can't be string"}},
		{"a number for text", "p.yaml", head + "        description: 12\n", []string{":6: /description: can't be number"}},
		{"null", "p.yaml", head + "        description:\n", []string{":6: /description: is null; leave it out"}},
		{"null for a time", "p.yaml", head + "        expiresAt:\n", []string{":6: /expiresAt: is not a time"}},
		{"a date for a time", "p.yaml", head + "        expiresAt: 2027-01-01\n", []string{":6: /expiresAt: is not a time; send RFC 3339"}},
		{"a hexadecimal number", "p.yaml", head + "        maxAmount: 0x10\n", []string{":6: 0x10 is not a number as JSON has them"}},
		{"a number with underscores", "p.yaml", head + "        maxAmount: 1_000\n", []string{":6: 1_000 is not a number"}},
		{"an anchor", "p.yaml", head + "        resource: &r [x]\n        paths: *r\n", []string{":6: has an anchor or an alias", ":7: has an anchor or an alias"}},
		{"a bomb of aliases", "p.yaml", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n", []string{":1: has an anchor", ":2: has an anchor", ":3: has an anchor"}},
		{"a merge", "p.yaml", head + "        <<: {resource: x}\n", []string{`:6: a field is named by plain text, not by "<<"`}},
		{"a tag", "p.yaml", head + "        description: !!str 5\n", []string{":6: has the tag !!str"}},
		{"a field that is no text", "p.yaml", "1: x\n", []string{`:1: a field is named by plain text, not by "1"`}},
		{"two documents", "p.yaml", head + "---\n" + head, []string{"more than one document"}},
		{"a depth", "p.yaml", "agents: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", []string{":1: is nested more than 32 levels deep"}},
		{"a great depth", "p.yaml", "agents: " + strings.Repeat("[", 20_000), []string{"max depth"}},
		{"broken YAML", "p.yaml", head + "        resource: [x\n", []string{"p.yaml:"}},
		{"two faults", "p.yaml", head + "        vendor: x\n      - key: l\n        actions: y\n", []string{":6: /vendor", ":8: /actions"}},
		{"broken JSON", "p.json", "{\n\"agents\": [\n}", []string{"p.json:3: is not JSON"}},
		{"JSON with a name twice", "p.json", "{\"agents\":\n[{\"agentId\":\"a\",\n\"agentId\":\"b\"}]}", []string{`p.json:3: "agentId" is here twice`}},
		{"JSON with more behind", "p.json", "{\"agents\":[]}\n{}", []string{"p.json:2: holds more than one value"}},
		{"JSON that stops", "p.json", `{"agents":[`, []string{"p.json:1: "}},
		{"JSON with an unknown field", "p.json", "{\"agents\":[{\"agentId\":\"a\",\n\"permissions\":[{\"key\":\"k\",\"action\":\"x\",\n\"vendor\":1}]}]}", []string{"p.json:3: /vendor: is not a field"}},
		{"JSON of a great depth", "p.json", strings.Repeat("[", 100) + strings.Repeat("]", 100), []string{"nested more than 32"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := readPassport(mustWrite(t, c.file, c.text), nil)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got\n%v\nwant it to say %q", err, part)
				}
			}
			if lines := strings.Count(err.Error(), "\n") + 1; len(c.want) > 1 && lines > len(c.want)+9 {
				t.Errorf("got %d lines, want fewer:\n%v", lines, err)
			}
		})
	}
}

func TestKeysInNotes(t *testing.T) {
	t.Parallel()
	for notes, want := range map[string]string{
		"key: tickets":            "tickets",
		"key: tickets\nfor Mia":   "tickets",
		"":                        "",
		"for Mia\nkey: tickets":   "",
		"key: two words":          "",
		"key: tickets\n":          "",
		"key: tickets\n\nfor Mia": "",
		"Key: tickets":            "",
		"key:tickets":             "",
		"key: tickets\r\nfor Mia": "",
	} {
		key, rest, ok := keyOf(notes)
		if key != want || ok != (want != "") {
			t.Errorf("%q: got the key %q, %t, want %q", notes, key, ok, want)
		}
		if ok && keyedNotes(key, rest) != notes {
			t.Errorf("%q: got %q back", notes, keyedNotes(key, rest))
		}
	}
}

func FuzzPassportFile(f *testing.F) {
	f.Add("agents:\n  - agentId: a\n    permissions:\n      - {key: k, action: x, maxAmount: 5.00}\n")
	f.Add(`{"agents":[{"agentId":"a","permissions":[{"key":"k","action":"x"}]}]}`)
	f.Add("a: &a [*a]\n<<: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		root, err := readTree("p.yaml", []byte(text))
		if err != nil {
			return
		}
		file, err := passportOf("p.yaml", root)
		again, err2 := readJSONTree("p.json", root.json(nil))
		if err2 != nil {
			t.Fatalf("%q became %s, which can't be read: %v", text, root.json(nil), err2)
		}
		if string(again.json(nil)) != string(root.json(nil)) {
			t.Fatalf("%s read again is %s", root.json(nil), again.json(nil))
		}
		if err == nil && len(file.agents) == 0 {
			t.Fatalf("%q: neither agents nor an error", text)
		}
	})
}
