package handlers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Visits counts how often links were opened, over all nodes. It is beside the
// log: nothing is decided by it.
type Visits interface {
	// Add counts n visits to a link. After an error it is unknown whether they
	// were counted.
	Add(ctx context.Context, account domain.AccountID, link domain.LinkID, n uint64) error
	// Of is how often a link was opened and when last, zero if it never was.
	Of(ctx context.Context, account domain.AccountID, link domain.LinkID) (uint64, time.Time, error)
}

// Links are what lets somebody without a key of their own read a passport.
type Links struct {
	Writer *Writer
	Visits Visits
	Logs   *slog.Logger
	// PublicURL is where the page of a link is reached from outside, without a
	// slash at its end, or empty if that is wherever the link was asked for.
	PublicURL string

	mu sync.Mutex
	// seen is guarded by mu: visits that were not counted yet.
	seen map[visited]uint64
}

type visited struct {
	account domain.AccountID
	link    domain.LinkID
}

// LinkView is a link as members see it.
type LinkView struct {
	LinkID  domain.LinkID  `json:"linkId"`
	AgentID domain.AgentID `json:"agentId"`
	// Token, URL and Text are there only when the link was just made.
	Token     string            `json:"token,omitempty"`
	URL       string            `json:"url,omitempty"`
	Text      string            `json:"text,omitempty"`
	Label     string            `json:"label,omitempty"`
	Status    domain.LinkStatus `json:"status"`
	CreatedBy domain.Actor      `json:"createdBy"`
	CreatedAt time.Time         `json:"createdAt"`
	ExpiresAt time.Time         `json:"expiresAt"`
	RevokedAt time.Time         `json:"revokedAt,omitzero"`
	// Views is how often the passport was read by it. It may lag by seconds, and
	// is left out when it can't be told.
	Views        *uint64   `json:"views,omitzero"`
	LastViewedAt time.Time `json:"lastViewedAt,omitzero"`
}

func viewLink(l *domain.Link, now time.Time) LinkView {
	return LinkView{
		LinkID: l.ID, AgentID: l.AgentID, Label: l.Label, Status: l.StatusAt(now), CreatedBy: l.By,
		CreatedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt, RevokedAt: l.RevokedAt,
	}
}

// CreateLink makes a link to an agent's passport, and returns its token, which is
// not kept and can't be shown again. At is where the server was reached.
func (d *Desk) CreateLink(ctx context.Context, by Member, agent domain.AgentID, label string, expiresIn domain.Duration, at string) (LinkView, error) {
	h := d.Links
	id, token := domain.LinkID(domain.LinkPrefix+NewULID(h.Writer.Now())), newSecret(domain.LinkTokenPrefix)
	a, err := d.currently(ctx, domain.Stream{Account: by.Account, Agent: agent})
	if err != nil {
		return LinkView{}, err
	}
	account, err := h.Writer.accountAt(ctx, by.on(""), func(account domain.Account, now time.Time) ([]domain.Event, error) {
		return account.CreateLink(domain.CreateLink{
			LinkID: id, AgentID: agent, Label: label, Token: domain.HashToken(token), ExpiresIn: expiresIn, Now: now,
		})
	})
	if err != nil {
		return LinkView{}, err
	}
	l, ok := account.Link(id)
	if !ok {
		return LinkView{}, unavailable(nil, "the link was made and is gone again; make another")
	}
	sheet, err := d.sheet(a)
	if err != nil {
		return LinkView{}, err
	}
	view := viewLink(l, h.Writer.Now())
	if h.PublicURL != "" {
		at = h.PublicURL
	}
	none := uint64(0)
	view.Token, view.URL, view.Views = token, at+"/p/"+string(id)+"#"+token, &none
	view.Text = sheet.LinkText(view.URL, l.ExpiresAt)
	return view, nil
}

// LinksOf are the links of an agent, the newest first.
func (d *Desk) LinksOf(ctx context.Context, by Member, agent domain.AgentID) ([]LinkView, error) {
	if _, err := d.currently(ctx, domain.Stream{Account: by.Account, Agent: agent}); err != nil {
		return nil, err
	}
	account, err := d.Identifier.Passports.Account(by.Account)
	if err != nil {
		return nil, Unreadable(err)
	}
	links := account.LinksOf(agent)
	views := make([]LinkView, 0, len(links))
	for i := range links {
		l := links[len(links)-1-i]
		view := viewLink(l, d.Links.Writer.Now())
		if n, last, err := d.Links.Visits.Of(ctx, by.Account, l.ID); err != nil {
			d.Links.Logs.WarnContext(ctx, "read the visits to a link", slog.String("link_id", string(l.ID)), slog.Any("error", err))
		} else {
			view.Views, view.LastViewedAt = &n, last
		}
		views = append(views, view)
	}
	return views, nil
}

// RevokeLink makes a link show nothing any more. Again it changes nothing.
func (d *Desk) RevokeLink(ctx context.Context, by Member, agent domain.AgentID, id domain.LinkID) (LinkView, error) {
	account, err := d.Links.Writer.accountAt(ctx, by.on(""), func(account domain.Account, _ time.Time) ([]domain.Event, error) {
		return account.RevokeLink(agent, id)
	})
	if err != nil {
		return LinkView{}, err
	}
	l, ok := account.Link(id)
	if !ok {
		return LinkView{}, domain.Reject(domain.NotFound, "no such link of agent %s", agent)
	}
	return viewLink(l, d.Links.Writer.Now()), nil
}

// currently is an agent as the log holds it.
func (d *Desk) currently(ctx context.Context, s domain.Stream) (*domain.Agent, error) {
	if err := catchUp(ctx, d.Identifier.Log, d.Identifier.Passports, s); err != nil {
		return nil, err
	}
	a := d.Identifier.Passports.Agent(s)
	if err := a.Fault(); err != nil {
		return nil, Unreadable(err)
	}
	if !a.Exists() {
		return nil, domain.Reject(domain.NotFound, "no agent %s", s.Agent)
	}
	return a, nil
}

// Holder is who holds the token of a link that is good. It is no Caller, so that
// nothing which serves callers can take it for one by mistake.
type Holder struct {
	Link   *domain.Link
	Passes domain.Stream // the agent whose passport it shows
}

// ErrLink is the one answer to every token of a link that is not good, be it
// unknown, expired, revoked, or that of another link.
var ErrLink = domain.Reject(domain.Unauthorized, "this link is not good, or not any more; ask whoever gave it to you for another")

// HasLinkToken reports whether an Authorization header carries the token of a
// link, good or not, and so nobody's key.
func HasLinkToken(authorization string) bool {
	scheme, secret, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, "Bearer") && strings.HasPrefix(secret, domain.LinkTokenPrefix)
}

// AdmitHolder finds who holds the token of a link, within the same limits as
// callers. It looks at the log: a link that was revoked on another node is dead
// here too.
func (d *Desk) AdmitHolder(ctx context.Context, address, authorization string) (Holder, error) {
	if address != "" {
		if err := d.Limits.Addresses.Pass(address); err != nil {
			return Holder{}, err
		}
	}
	h, hash, err := d.holder(ctx, authorization)
	if err != nil {
		if errors.Is(err, ErrLink) {
			err = cmp.Or(d.Limits.Failures.Pass(address), err)
		}
		return Holder{}, err
	}
	return h, d.Limits.Reads.Pass(string(hash))
}

func (d *Desk) holder(ctx context.Context, authorization string) (Holder, domain.TokenHash, error) {
	hash, err := Bearer(authorization)
	if err != nil || !HasLinkToken(authorization) {
		return Holder{}, "", ErrLink
	}
	if err := d.mayDecide(); err != nil { // else a link not read from the log yet would seem unknown
		return Holder{}, "", err
	}
	passports := d.Identifier.Passports
	account, id, ok := passports.ByLink(hash)
	if !ok {
		return Holder{}, "", ErrLink
	}
	if err := catchUp(ctx, d.Identifier.Log, passports, domain.Stream{Account: account}); err != nil {
		return Holder{}, "", err
	}
	state, err := passports.Account(account)
	if err != nil {
		return Holder{}, "", Unreadable(err)
	}
	l, ok := state.Link(id)
	if !ok || !l.Token.Equal(hash) || l.StatusAt(d.Verifier.Now()) != domain.LinkActive {
		return Holder{}, "", ErrLink
	}
	return Holder{Link: l, Passes: domain.Stream{Account: account, Agent: l.AgentID}}, hash, nil
}

// PassportHeld is the passport a link shows. It counts as a visit.
func (d *Desk) PassportHeld(ctx context.Context, h Holder) (PassportView, error) {
	a, err := d.currently(ctx, h.Passes)
	if err != nil {
		return PassportView{}, err
	}
	view, err := d.passport(a)
	if err == nil {
		d.Links.visit(h)
	}
	return view, err
}

// SheetHeld is the passport a link shows, in words. It counts as a visit, unless
// it is shown again beside a preview.
func (d *Desk) SheetHeld(ctx context.Context, h Holder, again bool) (Sheet, error) {
	a, err := d.currently(ctx, h.Passes)
	if err != nil {
		return Sheet{}, err
	}
	sheet, err := d.sheet(a)
	if err == nil && !again {
		d.Links.visit(h)
	}
	return sheet, err
}

// PreviewHeld previews on the passport a link shows.
func (d *Desk) PreviewHeld(ctx context.Context, h Holder, body []byte) (PreviewView, error) {
	var ask domain.Ask
	if err := Decode(body, &ask); err != nil {
		return PreviewView{}, err
	}
	if ask.AgentID != "" && ask.AgentID != h.Passes.Agent {
		return PreviewView{}, ErrLink
	}
	if _, err := d.currently(ctx, h.Passes); err != nil {
		return PreviewView{}, err
	}
	decision, known, err := d.Preview(ctx, h.Passes, &ask)
	if err != nil {
		return PreviewView{}, err
	}
	return ViewPreview(h.Passes.Agent, decision, known), nil
}

// TextOf is a text about an agent of the member's account: "memory" or "task".
func (d *Desk) TextOf(a *domain.Agent, kind string) (string, error) {
	sheet, err := d.sheet(a)
	switch {
	case err != nil:
		return "", err
	case kind == "memory":
		return sheet.MemoryText(), nil
	case kind == "task":
		return sheet.TaskText(), nil
	case kind == "link":
		return "", domain.RejectField(domain.Invalid, "/kind", "the text with a link is shown once, when the link is made: POST /v1/agents/%s/links", a.ID)
	}
	return "", domain.RejectField(domain.Invalid, "/kind", "%q is unknown; use memory or task; the text with a link comes with the link", strings.ToValidUTF8(kind, "?"))
}

func (d *Desk) sheet(a *domain.Agent) (Sheet, error) {
	view, budget, err := d.passportAnd(a)
	if err != nil {
		return Sheet{}, err
	}
	return NewSheet(view, budget.Limits, a.Updated, d.Verifier.Now()), nil
}

// visit notes a visit. It is counted by Run: whoever reloads a page a thousand
// times writes once a second.
func (l *Links) visit(h Holder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[visited]uint64{}
	}
	l.seen[visited{h.Passes.Account, h.Link.ID}]++
}

// Run counts visits until ctx ends, and those then noted.
func (l *Links) Run(ctx context.Context) error {
	for sleep(ctx, time.Second) == nil {
		l.count(ctx)
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	l.count(last)
	return nil
}

func (l *Links) count(ctx context.Context) {
	l.mu.Lock()
	seen := l.seen
	l.seen = nil
	l.mu.Unlock()
	for v, n := range seen {
		if err := l.Visits.Add(ctx, v.account, v.link, n); err != nil {
			// It may have been counted; a figure that is low misleads less.
			l.Logs.WarnContext(ctx, "count visits to a link", slog.String("link_id", string(v.link)), slog.Any("error", err))
		}
	}
}
