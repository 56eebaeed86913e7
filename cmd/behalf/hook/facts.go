package hook

import (
	"cmp"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/behalf-platform/behalf"
)

// factsOf says where the agent works: what the command line says, else what is
// checked out. They are the caller's word, and only ever narrow what is allowed;
// what can't be read is left out, which denies where a rule asks for it.
func factsOf(cwd string, o Options) behalf.Facts {
	facts := behalf.Facts{Branch: o.Branch, Environment: o.Environment, Repository: o.Repository}
	if facts.Branch != "" && facts.Repository != "" {
		return facts
	}
	dir := gitDir(cwd)
	if dir == "" {
		return facts
	}
	head := strings.TrimSpace(readSmall(filepath.Join(dir, "HEAD")))
	branch, _ := strings.CutPrefix(head, "ref: refs/heads/")
	if branch == head {
		branch = "" // a commit, not a branch
	}
	facts.Branch = cmp.Or(facts.Branch, branch)
	common := dir
	if text := strings.TrimSpace(readSmall(filepath.Join(dir, "commondir"))); text != "" { // a further work tree
		common = under(dir, text)
	}
	facts.Repository = cmp.Or(facts.Repository, repository(readSmall(filepath.Join(common, "config"))))
	return facts
}

// gitDir is where git keeps what it knows of a directory, or empty.
func gitDir(dir string) string {
	if !filepath.IsAbs(dir) {
		return ""
	}
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		at := filepath.Join(dir, ".git")
		info, err := os.Stat(at)
		switch {
		case err == nil && info.IsDir():
			return at
		case err == nil:
			link, ok := strings.CutPrefix(strings.TrimSpace(readSmall(at)), "gitdir: ")
			if !ok {
				return ""
			}
			return under(dir, link)
		case dir == filepath.Dir(dir):
			return ""
		}
	}
}

func under(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// repository is owner/name of the remote origin in a git configuration.
func repository(config string) string {
	inside := false
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			inside = line == `[remote "origin"]`
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if inside && ok && strings.TrimSpace(key) == "url" {
			return ownerAndName(strings.TrimSpace(value))
		}
	}
	return ""
}

// ownerAndName reads https://host/owner/name.git and git@host:owner/name.git.
func ownerAndName(remote string) string {
	at := remote
	if u, err := url.Parse(remote); err == nil && u.Host != "" {
		at = u.Path
	} else if _, after, ok := strings.Cut(remote, ":"); ok {
		at = after
	} else {
		return "" // a directory: no name that others know
	}
	return strings.TrimSuffix(strings.Trim(at, "/"), ".git")
}

// readSmall reads a file of at most 256 KiB, or nothing.
func readSmall(name string) string {
	file, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(file, 256<<10))
	if err != nil {
		return ""
	}
	return string(text)
}
