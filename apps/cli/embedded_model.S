/* models/stories.gguf as it is, for embedded_model.cc. Read by the assemblers of g++ and clang alike. */
  .section .rodata.rowmax_stories, "a", %progbits
  .balign 64
  .globl rowmax_stories_begin
  .hidden rowmax_stories_begin
  .type rowmax_stories_begin, %object
rowmax_stories_begin:
  .incbin ROWMAX_STORIES_FILE
  .globl rowmax_stories_end
  .hidden rowmax_stories_end
  .type rowmax_stories_end, %object
rowmax_stories_end:
  .byte 0
  .size rowmax_stories_begin, rowmax_stories_end - rowmax_stories_begin
  .size rowmax_stories_end, 1
  .section .note.GNU-stack, "", %progbits
