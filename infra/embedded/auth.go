package embedded

import (
	"crypto/subtle"

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
}

// gate lets clients in.
type gate struct {
	password string // of this process
	outside  func(user, password string) (Access, bool)
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
	password := opts.Password
	if password == "" {
		password = opts.Token
	}
	access, ok := g.outside(opts.Username, password)
	if !ok {
		return false
	}
	c.RegisterUser(&server.User{Username: access.Name, Permissions: &server.Permissions{
		Publish:   only(access.Publish),
		Subscribe: only(access.Subscribe),
	}})
	return true
}

// only allows these subjects. To the server an empty list allows everything.
func only(subjects []string) *server.SubjectPermission {
	if len(subjects) == 0 {
		return &server.SubjectPermission{Deny: []string{">"}}
	}
	return &server.SubjectPermission{Allow: subjects}
}
