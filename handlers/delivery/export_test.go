package delivery

// CursorFirst has an engine write the cursor before what became of the
// messages: the mistake that the tests of crashes must find.
func (e *Engine) CursorFirst() { e.cursorFirst = true }
