# The guest SDKs and their templates, inside the binary.
file(GLOB_RECURSE sdk_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/sdk/*/include/* ${CMAKE_SOURCE_DIR}/sdk/*/src/*
  ${CMAKE_SOURCE_DIR}/sdk/*/assembly/* ${CMAKE_SOURCE_DIR}/sdk/*/template/* ${CMAKE_SOURCE_DIR}/sdk/template/*)
set(embedded_sdk ${CMAKE_BINARY_DIR}/embedded_sdk.cc)
add_custom_command(OUTPUT ${embedded_sdk}
  COMMAND python3 ${CMAKE_SOURCE_DIR}/tools/embed_sdk.py ${CMAKE_SOURCE_DIR}/sdk ${embedded_sdk}
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/embed_sdk.py ${sdk_files} ${CMAKE_SOURCE_DIR}/sdk/rust/Cargo.toml
    ${CMAKE_SOURCE_DIR}/sdk/assemblyscript/package-lock.json ${CMAKE_SOURCE_DIR}/sdk/assemblyscript/testing.mjs
  VERBATIM)
target_sources(mr_app PRIVATE ${embedded_sdk})
