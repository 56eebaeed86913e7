package embedded

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// internalUser is the name of this process. No client from outside can have it.
const internalUser = "_BEHALF"

// Access is what a client from outside may do. Lists hold subjects and
// wildcards; what is on none of them is refused, JetStream's API included.
type Access struct {
	// Name is what the server calls the client when it reports on it.
	Name      string
	Publish   []string
	Subscribe []string
	// Apart keeps the client in subjects of its own. What it publishes to what it
	// may reaches the others, and answers reach it; but an answer goes wherever the
	// client asks for it, and here no stream listens. That matters to who may use
	// JetStream's API: its answers need no permission of whoever asked.
	Apart bool
}

// gate lets clients in.
type gate struct {
	password string // of this process
	outside  func(user, password string) (Access, bool)
	// deciding is held shared while it is decided on a client, and until the
	// client has its name.
	deciding sync.RWMutex
	nats     *server.Server // set before it listens
	apart    sync.Mutex     // held while a client's own subjects are made
}

// Check decides on a client that connects.
func (g *gate) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	switch {
	case c.Kind() != server.CLIENT:
		return false
	case opts.Username == internalUser:
		return subtle.ConstantTimeCompare([]byte(opts.Password), []byte(g.password)) == 1
	case g.outside == nil:
		return false
	}
	g.deciding.RLock()
	defer g.deciding.RUnlock()
	access, ok := g.knows(opts)
	if !ok {
		return false
	}
	user := &server.User{Username: access.Name, Permissions: &server.Permissions{
		Publish:   only(access.Publish),
		Subscribe: only(access.Subscribe),
	}}
	if access.Apart {
		var err error
		if user.Account, err = g.own(access); err != nil {
			return false
		}
	}
	c.RegisterUser(user)
	return true
}

// own are the subjects of a client's own: an account of NATS that shares with
// everybody else's no more than what the client may publish to. The server gives
// each of its requests a reply subject that it makes itself.
func (g *gate) own(access Access) (*server.Account, error) {
	g.apart.Lock()
	defer g.apart.Unlock()
	own, isNew := g.nats.LookupOrRegisterAccount(access.Name)
	if !isNew {
		return own, nil
	}
	common := g.nats.GlobalAccount()
	for _, subject := range access.Publish {
		if err := errors.Join(
			common.AddServiceExportWithResponse(subject, server.Streamed, []*server.Account{own}),
			own.AddServiceImport(common, subject, subject),
		); err != nil {
			return nil, fmt.Errorf("share %s with %s: %w", subject, access.Name, err)
		}
	}
	return own, nil
}

// knows is what a client with these credentials may do now.
func (g *gate) knows(opts *server.ClientOpts) (Access, bool) {
	password := opts.Password
	if password == "" {
		password = opts.Token
	}
	return g.outside(opts.Username, password)
}

// Recheck asks again about every client from outside that has one of these
// names, and ends the connections of those that would be refused now, or are
// somebody else. Call it when what Authenticate says has changed: clients that
// come meanwhile are judged by what it says then.
func (s *Server) Recheck(names map[string]bool) error {
	if s.gate.outside == nil {
		return nil
	}
	list, err := s.clients()
	if err != nil {
		return fmt.Errorf("list the NATS clients: %w", err)
	}
	var errs []error
	for _, c := range list.Conns {
		if !names[c.AuthorizedUser] || c.AuthorizedUser == internalUser {
			continue
		}
		client := s.nats.GetClient(c.Cid)
		if client == nil {
			continue // it has gone by itself
		}
		if access, ok := s.gate.knows(client.GetOpts()); ok && access.Name == c.AuthorizedUser {
			continue
		}
		if err := s.nats.DisconnectClientByID(c.Cid); err != nil && s.nats.GetClient(c.Cid) != nil {
			errs = append(errs, fmt.Errorf("end the connection of %s: %w", c.AuthorizedUser, err))
		}
	}
	return errors.Join(errs...)
}

// clients lists who was let in. Each has its name.
func (s *Server) clients() (*server.Connz, error) {
	s.gate.deciding.Lock() // nobody is just being let in
	defer s.gate.deciding.Unlock()
	return s.nats.Connz(&server.ConnzOptions{Username: true, Limit: maxConnections})
}

// only allows these subjects. To the server an empty list allows everything.
func only(subjects []string) *server.SubjectPermission {
	if len(subjects) == 0 {
		return &server.SubjectPermission{Deny: []string{">"}}
	}
	return &server.SubjectPermission{Allow: subjects}
}
