package domain

import (
	"errors"
	"fmt"
)

// CanonicalHost is the only spelling of a host without its port: a lower-case
// name of A-labels, an IPv4 address in four plain decimal numbers, or an IPv6
// address in brackets. What more than one program could read in more than one
// way is refused.
func CanonicalHost(s string) (string, error) {
	if len(s) > mostHost {
		return "", errors.New("the host is too long")
	}
	if err := checkHostText(s); err != nil {
		return "", fmt.Errorf("%s is not a host: %w", quote(s), err)
	}
	name, port, err := splitPort(s)
	if err == nil && port != 0 {
		err = errors.New("a port is not taken")
	}
	if err == nil {
		name, err = canonicalName(name)
	}
	if err != nil {
		return "", fmt.Errorf("%s is not a host: %w", quote(s), err)
	}
	return name, nil
}
