package hook

import (
	"errors"
	"fmt"
	"strings"

	"github.com/behalf-platform/behalf"
)

// mostFiles bounds the changes of one patch: each is asked about.
const mostFiles = 64

const (
	updateFile = "*** Update File: "
	moveTo     = "*** Move to: "
)

// headers are the lines of a patch that name a file.
var headers = []struct{ lead, action string }{
	{"*** Add File: ", FileWrite},
	{updateFile, FileWrite},
	{"*** Delete File: ", FileDelete},
	{moveTo, FileWrite},
}

// patch is the tool of Codex that changes files, any number at a time. Codex
// takes spaces around a header for nothing, and so do we: a line of text that
// passes for one has another file asked about, and hides none.
func patch(c *call, in input) ([]behalf.Ask, error) {
	if !strings.Contains(in.Command, "*** Begin Patch") {
		return nil, errors.New("the tool apply_patch has no patch in its command")
	}
	type change struct{ action, file string }
	var changes []change
	updates := ""
	for line := range strings.Lines(in.Command) {
		line = strings.TrimSpace(line)
		for _, h := range headers {
			file, ok := strings.CutPrefix(line, h.lead)
			if !ok {
				continue
			}
			if file = strings.TrimSpace(file); file == "" {
				return nil, errors.New("the patch has a header without a file")
			}
			switch {
			case h.lead == updateFile:
				updates = file
			case h.lead == moveTo && updates == "":
				return nil, errors.New("the patch moves a file that it doesn't name")
			case h.lead == moveTo: // takes the file away from where it was
				changes = append(changes, change{FileDelete, updates})
			}
			changes = append(changes, change{h.action, file})
		}
	}
	switch {
	case len(changes) == 0:
		return nil, errors.New("the patch names no file")
	case len(changes) > mostFiles:
		return nil, fmt.Errorf("the patch makes %d changes to files, and at most %d are asked about; make it smaller", len(changes), mostFiles)
	}
	var asks []behalf.Ask
	for _, ch := range changes {
		touched, err := touch(ch.action, ch.file, c.Cwd)
		if err != nil {
			return nil, err
		}
		asks = append(asks, touched...)
	}
	return asks, nil
}
