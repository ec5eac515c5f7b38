/* The files of apps/server/page as they are, for page.cc. Read by the assemblers of g++ and clang alike. */
  .section .rodata.rowmax_page, "a", %progbits
  .macro page_file name
  .balign 16
  .globl rowmax_page_\name\()_begin
  .hidden rowmax_page_\name\()_begin
  .type rowmax_page_\name\()_begin, %object
rowmax_page_\name\()_begin:
  .endm
  .macro page_file_end name
  .globl rowmax_page_\name\()_end
  .hidden rowmax_page_\name\()_end
  .type rowmax_page_\name\()_end, %object
rowmax_page_\name\()_end:
  .byte 0
  .size rowmax_page_\name\()_begin, rowmax_page_\name\()_end - rowmax_page_\name\()_begin
  .size rowmax_page_\name\()_end, 1
  .endm

  page_file html
  .incbin ROWMAX_PAGE_HTML
  page_file_end html
  page_file css
  .incbin ROWMAX_PAGE_CSS
  page_file_end css
  page_file icon
  .incbin ROWMAX_PAGE_ICON
  page_file_end icon
  page_file page
  .incbin ROWMAX_PAGE_PAGE
  page_file_end page
  page_file api
  .incbin ROWMAX_PAGE_API
  page_file_end api
  page_file chat
  .incbin ROWMAX_PAGE_CHAT
  page_file_end chat
  page_file markdown
  .incbin ROWMAX_PAGE_MARKDOWN
  page_file_end markdown
  page_file tokens
  .incbin ROWMAX_PAGE_TOKENS
  page_file_end tokens
  page_file attention
  .incbin ROWMAX_PAGE_ATTENTION
  page_file_end attention
  .section .note.GNU-stack, "", %progbits
