package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// passportFile is what a file says that agents may do.
type passportFile struct {
	name   string
	agents []agentEntry
}

// agentEntry is an agent of a file. What is absent there is nil or empty.
type agentEntry struct {
	id     domain.AgentID
	name   string
	driver domain.MemberID
	// limits are those of all permissions together; the zero Limits end them.
	limits      *domain.Limits
	permissions []permissionEntry

	node, limitsNode *written
}

// permissionEntry is a permission of a file: terms as the API has them, and the
// key it goes by in the file.
type permissionEntry struct {
	key   string
	terms domain.Terms
	node  *written // without the key
}

// fileFault is what is wrong at a line of a file.
type fileFault struct {
	file string
	line int
	text string
}

func (f *fileFault) Error() string {
	if f.line == 0 {
		return f.file + ": " + f.text
	}
	return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text)
}

// mostFile bounds a file, in bytes.
const mostFile = 4 << 20

// readText reads a file, or standard input for "-".
func readText(path string, in io.Reader) (name string, text []byte, err error) {
	name = path
	if path == "-" {
		name = "standard input"
	} else {
		file, err := os.Open(path)
		if err != nil {
			return name, nil, usagef("%v", err)
		}
		defer file.Close()
		in = file
	}
	text, err = io.ReadAll(io.LimitReader(in, mostFile+1))
	switch {
	case err != nil:
		return name, nil, usagef("read %s: %v", name, err)
	case len(text) > mostFile:
		return name, nil, usagef("%s is over %d bytes", name, mostFile)
	}
	return name, text, nil
}

// readPassport reads a passport file. It reports every agent and permission
// that can't be taken, each with its line.
func readPassport(path string, in io.Reader) (passportFile, error) {
	name, text, err := readText(path, in)
	if err != nil {
		return passportFile{}, err
	}
	root, err := readTree(name, text)
	if err != nil {
		return passportFile{}, err
	}
	return passportOf(name, root)
}

// passportOf makes a passport of a tree.
func passportOf(name string, root *written) (passportFile, error) {
	f := passportFile{name: name}
	if err := root.only(name, "a passport", "agents"); err != nil {
		return f, err
	}
	list, err := root.list(name, "agents")
	if err != nil {
		return f, err
	}
	if len(list) == 0 {
		return f, &fileFault{name, root.line, "names no agents; list at least one under agents"}
	}
	var faults []error
	lines := map[domain.AgentID]int{}
	for _, n := range list {
		a, err := agentOf(name, n)
		faults = append(faults, err)
		if first := lines[a.id]; first != 0 {
			faults = append(faults, &fileFault{name, n.find("/agentId"), fmt.Sprintf("agent %s is here twice; it begins at line %d", a.id, first)})
		} else if a.id != "" {
			lines[a.id] = n.find("/agentId")
		}
		f.agents = append(f.agents, a)
	}
	return f, errors.Join(faults...)
}

func agentOf(name string, n *written) (agentEntry, error) {
	a := agentEntry{node: n}
	if err := n.only(name, "an agent", "agentId", "name", "driver", "limits", "permissions"); err != nil {
		return a, err
	}
	var head struct {
		AgentID domain.AgentID  `json:"agentId"`
		Name    string          `json:"name"`
		Driver  domain.MemberID `json:"driver"`
	}
	if err := decodeNode(name, n.without("limits", "permissions"), &head); err != nil {
		return a, err
	}
	a.id, a.name, a.driver = head.AgentID, head.Name, head.Driver
	if _, err := (domain.Agent{}).Register(a.registration()); err != nil {
		return a, faultAt(name, n, err)
	}
	var faults []error
	if a.limitsNode = n.member("limits"); a.limitsNode != nil {
		a.limits = new(domain.Limits)
		faults = append(faults, decodeNode(name, a.limitsNode, a.limits))
	}
	list, err := n.list(name, "permissions")
	faults = append(faults, err)
	lines := map[string]int{}
	for _, n := range list {
		p, err := permissionOf(name, n)
		faults = append(faults, err)
		if first := lines[p.key]; first != 0 {
			faults = append(faults, &fileFault{name, n.find("/key"), fmt.Sprintf("key %s is here twice; the first is at line %d", p.key, first)})
		} else if p.key != "" {
			lines[p.key] = n.find("/key")
		}
		a.permissions = append(a.permissions, p)
	}
	return a, errors.Join(faults...)
}

// registration is the command that registers the agent, with a key that stands
// for the one the server makes.
func (a *agentEntry) registration() domain.RegisterAgent {
	return domain.RegisterAgent{AgentID: a.id, Name: a.called(), Type: domain.Native, Key: "made by the server", Driver: a.driver}
}

// called is the name the agent is registered under.
func (a *agentEntry) called() string {
	if a.name == "" {
		return string(a.id)
	}
	return a.name
}

func permissionOf(name string, n *written) (permissionEntry, error) {
	p := permissionEntry{node: n.without("key")}
	if err := n.isObject(name, "a permission"); err != nil {
		return p, err
	}
	switch key := n.member("key"); {
	case key == nil:
		return p, &fileFault{name, n.line, "has no key; give each permission a name of its own, such as key: tickets, and keep it"}
	case key.kind != '"' || !domain.ValidID(key.string()):
		return p, &fileFault{name, n.find("/key"), "a key is text, 1 to 64 of A-Z a-z 0-9 _ and -"}
	default:
		p.key = key.string()
	}
	return p, decodeNode(name, p.node, &p.terms)
}

// decodeNode reads a value as the API reads the same JSON.
func decodeNode(name string, n *written, into any) error {
	return faultAt(name, n, handlers.DecodeGrant(n.json(nil), into))
}

// faultAt is a rule's refusal of a value, at the line of what it refuses.
func faultAt(name string, n *written, err error) error {
	refused, ok := errors.AsType[*domain.RuleError](err)
	if !ok {
		return err
	}
	return &fileFault{name, n.find(refused.Field), refused.Error()}
}

// accepted are the terms as the server would keep them for a permission that it
// knows by a key, or by its id.
func (p *permissionEntry) accepted(byID bool, now time.Time, currency domain.Currency, zone string) (domain.Terms, error) {
	terms := p.terms
	if strings.TrimSpace(terms.Notes) != terms.Notes { // below the key, nobody else would notice
		return terms, domain.RejectField(domain.Invalid, "/notes", "begins or ends with blanks")
	}
	if !byID {
		terms.Notes = keyedNotes(p.key, terms.Notes)
	}
	return terms.Accept(now, currency, zone)
}

// A permission is known by the first line of its notes, which only members see
// and nobody but members can change.
const keyLead = "key: "

func keyedNotes(key, notes string) string {
	if notes == "" {
		return keyLead + key
	}
	return keyLead + key + "\n" + notes
}

// keyOf is the key that notes carry, and what else they say.
func keyOf(notes string) (key, rest string, ok bool) {
	first, rest, _ := strings.Cut(notes, "\n")
	key, ok = strings.CutPrefix(first, keyLead)
	if !ok || !domain.ValidID(key) || strings.TrimSpace(rest) != rest || keyedNotes(key, rest) != notes {
		return "", notes, false
	}
	return key, rest, true
}

// only refuses members of an object that nothing would read.
func (n *written) only(name, what string, known ...string) error {
	if err := n.isObject(name, what); err != nil {
		return err
	}
	var faults []error
	for i, member := range n.names {
		if !slices.Contains(known, member) {
			faults = append(faults, &fileFault{name, n.lines[i], fmt.Sprintf("%q is not a field of %s; it has %s", member, what, strings.Join(known, ", "))})
		}
	}
	return errors.Join(faults...)
}

func (n *written) isObject(name, what string) error {
	if n.kind != '{' {
		return &fileFault{name, n.line, what + " is written as fields with values"}
	}
	return nil
}

// list is a member that is a list, nil if it is absent.
func (n *written) list(name, member string) ([]*written, error) {
	m := n.member(member)
	switch {
	case m == nil:
		return nil, nil
	case m.kind != '[':
		return nil, &fileFault{name, n.find("/" + member), member + " is not a list"}
	}
	return m.items, nil
}
