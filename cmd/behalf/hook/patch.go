package hook

import (
	"errors"
	"fmt"
	"strings"

	"github.com/behalf-platform/behalf"
)

// mostFiles bounds the files of one patch: each is asked about.
const mostFiles = 64

// headers are the lines of a patch that name a file.
var headers = []struct{ lead, action string }{
	{"*** Add File: ", FileWrite},
	{"*** Update File: ", FileWrite},
	{"*** Delete File: ", FileDelete},
	{"*** Move to: ", FileWrite},
}

// patch is the tool of Codex that changes files, any number at a time. A line of
// a file's text begins with a space, + or -, so that none passes for a header.
func patch(c *call, in input) ([]behalf.Ask, error) {
	if !strings.Contains(in.Command, "*** Begin Patch") {
		return nil, errors.New("the tool apply_patch has no patch in its command")
	}
	var asks []behalf.Ask
	named := 0
	updates := ""
	for line := range strings.Lines(in.Command) {
		line = strings.TrimSpace(line)
		for _, h := range headers {
			name, ok := strings.CutPrefix(line, h.lead)
			if !ok {
				continue
			}
			if name = strings.TrimSpace(name); name == "" {
				return nil, errors.New("the patch has a header without a file")
			}
			switch h.lead {
			case "*** Update File: ":
				updates = name
			case "*** Move to: ": // takes the file away from where it was
				asks = append(asks, touch(FileDelete, updates, c.Cwd)...)
			}
			asks = append(asks, touch(h.action, name, c.Cwd)...)
			named++
		}
	}
	switch {
	case named == 0:
		return nil, errors.New("the patch names no file")
	case named > mostFiles:
		return nil, fmt.Errorf("the patch names %d files, and at most %d are asked about; make it smaller", named, mostFiles)
	}
	return asks, nil
}
